"""Access for analysts: a read-only role with limits, and for each tenant a role that reads only its own rows.

The statements are made from the tables and views of the database, so none is missed: tables with a column `tenant` are
filtered by a row policy, the others are not granted to tenants. Views run with the rights of the caller, so the
policies of the tables they read apply. Table functions that read elsewhere (`remote`, `url`, `file`...) are not
granted.

The embedded engine has no access control: everybody who reaches it can do everything.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import identifier, quoted, rows, sql_file
from millstream.analytics.warehouse.catalogue import views

ROLE = "millstream_analyst"
HIDDEN = ("_landing", "_check")
"""Tables without rows: inserts pass through them."""


@dataclass(frozen=True)
class Limits:
    """Limits of one query of an analyst, who cannot raise them."""

    seconds: int = 60
    memory_bytes: int = 4 * 1024**3
    rows_read: int = 2_000_000_000
    result_rows: int = 1_000_000
    queries_at_once: int = 8


@dataclass(frozen=True)
class Schema:
    """The tables of a database with their columns, and the names of its views."""

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
    """The schema of `client`'s database."""
    found = rows(client, sql_file("table_columns"), {"database": client.database})
    kinds = {str(name): str(engine) for name, engine, _ in found}
    return Schema(
        client.database or "",
        {str(name): list(columns) for name, engine, columns in found if not str(engine).endswith("View")},
        [name for name, engine in kinds.items() if engine == "MaterializedView"],
        [name for name, engine in kinds.items() if engine == "View"],
    )


def analyst_role(schema: Schema, limits: Limits | None = None) -> list[str]:
    """Statements that create the role which may read every table and view, within the limits. They may run again."""
    database = identifier(schema.database)
    readable = [*schema.readable, *sorted(schema.views)]
    return [
        *_role(ROLE, limits or Limits()),
        *(f"GRANT SELECT ON {database}.{identifier(name)} TO {ROLE}" for name in readable),
        *(
            f"CREATE ROW POLICY IF NOT EXISTS {ROLE}_all ON {database}.{identifier(name)} USING 1 TO {ROLE}"
            for name in readable
        ),
    ]


def tenant_role(schema: Schema, tenant: str, limits: Limits | None = None) -> list[str]:
    """Statements that create the role of one tenant. They may run again.

    It reads tables with a column `tenant`, through a row policy, and the views that read only such tables. Other tables
    and materialised views are closed twice: they are not granted, and a policy hides every row.
    """
    role = tenant_role_name(tenant)
    database = identifier(schema.database)
    own = [name for name in schema.readable if schema.has_tenant(name)]
    others = [name for name in schema.tables if name not in own]
    granted = [*own, *tenant_views(schema)]
    return [
        *_role(role, limits or Limits()),
        *(_policy(database, name, role, f"tenant = {quoted(tenant)}") for name in own),
        *(_policy(database, name, role, "0") for name in (*others, *schema.materialized)),
        *(_policy(database, name, role, "0") for name in sorted(set(schema.views) - set(granted))),
        *(f"GRANT SELECT ON {database}.{identifier(name)} TO {identifier(role)}" for name in granted),
    ]


def tenant_views(schema: Schema) -> list[str]:
    """Views that a tenant may read: those of this release whose tables all have a column `tenant`."""
    known = {view.name: view for view in views()}
    return [
        name
        for name in sorted(schema.views)
        if name in known and all(schema.has_tenant(table) for table in known[name].tables)
    ]


def tenant_role_name(tenant: str) -> str:
    return f"millstream_tenant_{tenant}"


def _policy(database: str, name: str, role: str, condition: str) -> str:
    holder = identifier(role)
    return f"CREATE ROW POLICY IF NOT EXISTS {holder} ON {database}.{identifier(name)} USING {condition} TO {holder}"


def _role(role: str, limits: Limits) -> list[str]:
    """Creates the role and sets its limits; ALTER ... SETTINGS removes the limits that it had before."""
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
    return [f"CREATE ROLE IF NOT EXISTS {identifier(role)}", f"ALTER ROLE {identifier(role)} SETTINGS {text}"]
