"""Access for analysts: a read-only role with limits, and for each tenant a role that sees its own rows and no others.

The statements are made from the tables and views themselves, so none is forgotten: what has a tenant is filtered by a
row policy, what has none is not granted to tenants. Views run with the rights of whoever asks, so the policies of the
tables below hold in them too. Nothing grants table functions that reach past the tables (`remote`, `url`, `file`...).

The embedded engine has no access control: whoever reaches it can do everything.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.warehouse.catalogue import views

ROLE = "millstream_analyst"
HIDDEN = ("_landing", "_check")
"""Tables that hold nothing: inserts go through them."""


@dataclass(frozen=True)
class Limits:
    """What one query of an analyst may take; they cannot raise it."""

    seconds: int = 60
    memory_bytes: int = 4 * 1024**3
    rows_read: int = 2_000_000_000
    result_rows: int = 1_000_000
    queries_at_once: int = 8


@dataclass(frozen=True)
class Schema:
    """What a database holds: the columns of each table, and the names of the views."""

    database: str
    tables: Mapping[str, Collection[str]]
    materialized: Collection[str]
    views: Collection[str]

    @property
    def readable(self) -> list[str]:
        return sorted(name for name in self.tables if not name.endswith(HIDDEN))

    def has_tenant(self, table: str) -> bool:
        return "tenant" in self.tables[table]


def read_schema(client: Client) -> Schema:
    """The schema of `client`'s database, as the server has it."""
    rows = client.query(
        "SELECT t.name, t.engine, groupArray(c.name) FROM system.tables AS t "
        "LEFT JOIN system.columns AS c ON t.database = c.database AND t.name = c.table "
        "WHERE t.database = {database:String} GROUP BY t.name, t.engine ORDER BY t.name",
        parameters={"database": client.database},
    ).result_rows
    kinds = {str(name): str(engine) for name, engine, _ in rows}
    return Schema(
        client.database or "",
        {str(name): list(columns) for name, engine, columns in rows if not str(engine).endswith("View")},
        [name for name, engine in kinds.items() if engine == "MaterializedView"],
        [name for name, engine in kinds.items() if engine == "View"],
    )


def analyst_role(schema: Schema, limits: Limits | None = None) -> list[str]:
    """Statements that make the role which may read every table and view, within the limits. They may run again."""
    database = _name(schema.database)
    readable = [*schema.readable, *sorted(schema.views)]
    return [
        *_role(ROLE, limits or Limits()),
        *(f"GRANT SELECT ON {database}.{_name(name)} TO {ROLE}" for name in readable),
        *(
            f"CREATE ROW POLICY IF NOT EXISTS {ROLE}_all ON {database}.{_name(name)} USING 1 TO {ROLE}"
            for name in readable
        ),
    ]


def tenant_role(schema: Schema, tenant: str, limits: Limits | None = None) -> list[str]:
    """Statements that make the role of one tenant. They may run again.

    It reads the tables that have a tenant, through a policy, and the views that read only such tables. Tables without a
    tenant and materialised views are refused twice: not granted, and a policy that shows no row.
    """
    role = tenant_role_name(tenant)
    database = _name(schema.database)
    own = [name for name in schema.readable if schema.has_tenant(name)]
    others = [name for name in schema.tables if name not in own]
    granted = [*own, *tenant_views(schema)]
    literal = _text(tenant)
    return [
        *_role(role, limits or Limits()),
        *(_policy(database, name, role, f"tenant = {literal}") for name in own),
        *(_policy(database, name, role, "0") for name in (*others, *schema.materialized)),
        *(_policy(database, name, role, "0") for name in sorted(set(schema.views) - set(granted))),
        *(f"GRANT SELECT ON {database}.{_name(name)} TO {_name(role)}" for name in granted),
    ]


def tenant_views(schema: Schema) -> list[str]:
    """Views that a tenant may ask: those of ours whose every table has a tenant."""
    known = {view.name: view for view in views()}
    return [
        name
        for name in sorted(schema.views)
        if name in known and all(schema.has_tenant(table) for table in known[name].tables)
    ]


def tenant_role_name(tenant: str) -> str:
    return f"millstream_tenant_{tenant}"


def _policy(database: str, name: str, role: str, condition: str) -> str:
    return (
        f"CREATE ROW POLICY IF NOT EXISTS {_name(role)} ON {database}.{_name(name)} USING {condition} TO {_name(role)}"
    )


def _role(role: str, limits: Limits) -> list[str]:
    """Makes the role, and gives it these limits instead of whatever it had: ALTER ... SETTINGS drops what was set."""
    settings = {
        "readonly": 2,
        "allow_ddl": 0,
        "allow_introspection_functions": 0,
        "max_execution_time": limits.seconds,
        "max_memory_usage": limits.memory_bytes,
        "max_rows_to_read": limits.rows_read,
        "max_result_rows": limits.result_rows,
        "max_concurrent_queries_for_user": limits.queries_at_once,
    }
    text = ", ".join(f"{name} = {value} CONST" for name, value in settings.items())
    return [f"CREATE ROLE IF NOT EXISTS {_name(role)}", f"ALTER ROLE {_name(role)} SETTINGS {text}"]


def _name(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
