"""Brings a ClickHouse database to the schema of this release.

Tables are versioned files in `migrations/`, applied once and recorded with their checksum in `schema_migrations`.
Views hold no data, so the files in `views/` simply replace what is there. Retention is a setting, not a version: it is
applied whenever it differs.

Splitting statements, checksums and the record of what was applied come from clickhouse-migrations, whose migrator takes
a connection of clickhouse-connect and so needs nothing but HTTP. Its lock needs Keeper, which a single server does not
have; two runs at once are safe because every statement may run twice.
"""

from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_migrations.connection import ClickhouseConnectConnection
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migration import MigrationStorage
from clickhouse_migrations.migrator import STATUS_MD5_MISMATCH, STATUS_PENDING, Migrator
from clickhouse_migrations.substitution import substitute

TABLE = "schema_migrations"


class MigrationError(RuntimeError):
    """The database and the migration files contradict each other; nothing was applied."""


@dataclass(frozen=True)
class Applied:
    """A migration that has just been applied."""

    version: int
    name: str


def migrate(
    client: Client, database: str = "millstream", *, raw_days: int = 90, rollup_days: int = 400
) -> list[Applied]:
    """Create `database` if need be and bring it up to date; returns what was pending. `client` then uses `database`.

    Raw rows are kept for `raw_days`, minute rollups for `rollup_days`, by event time. Raises `MigrationError` when an
    applied file has been changed or is missing. After a failure half way the next run goes on from there.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS {_quoted(database)}", use_database=False)
    client.database = database
    migrator = _migrator(client)
    migrator.init_schema()
    try:
        done = migrator.apply_migration(_storage().migrations(), multi_statement=True)
    except MigrationException as error:
        raise MigrationError(f"database {database!r}: {error}") from error
    _replace_views(client)
    _apply_retention(client, raw_days, rollup_days)
    return [Applied(step.version, _names()[step.version]) for step in done]


def pending(client: Client) -> list[str]:
    """Names of the migrations that `client`'s database still lacks. Raises `MigrationError` when one was changed."""
    known = client.command(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        parameters={"database": client.database, "table": TABLE},
        use_database=False,
    )
    if not int(str(known)):
        return list(_names().values())
    status = _migrator(client).migration_status(_storage().migrations())
    changed = [_names()[row.version] for row in status if row.state == STATUS_MD5_MISMATCH]
    if changed:
        raise MigrationError(f"database {client.database!r}: applied files were changed since: {', '.join(changed)}")
    return [_names()[row.version] for row in status if row.state == STATUS_PENDING]


def view_names() -> list[str]:
    """Every parameterised view, in the order in which they can be created."""
    texts = {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in (_folder() / "views").iterdir()}
    used = {name: {other for other in texts if f"{other}(from = " in text} for name, text in texts.items()}
    return list(TopologicalSorter({name: sorted(used[name]) for name in sorted(texts)}).static_order())


def view_text(name: str) -> str:
    """The file of a view: its question, parameters, columns and an example in the leading comment, then the SQL."""
    return (_folder() / "views" / f"{name}.sql").read_text("utf-8")


def _replace_views(client: Client) -> None:
    for name in view_names():
        client.command(view_text(name))


def _apply_retention(client: Client, raw_days: int, rollup_days: int) -> None:
    engines = client.query(
        "SELECT engine_full FROM system.tables "
        "WHERE database = {database:String} AND name IN ('job_events', 'cost_1m') ORDER BY name",
        parameters={"database": client.database},
    ).result_columns[0]
    if f"toIntervalDay({rollup_days})" in engines[0] and f"toIntervalDay({raw_days})" in engines[1]:
        return
    text = (_folder() / "retention.sql").read_text("utf-8")
    days = {"RAW_DAYS": str(raw_days), "ROLLUP_DAYS": str(rollup_days)}
    for statement in Migrator.script_to_statements(substitute(text, days, "retention.sql"), multi_statement=True):
        client.command(statement)


def _migrator(client: Client) -> Migrator:
    return Migrator(ClickhouseConnectConnection(client), migrations_table=TABLE, migration_log_format="compact")


def _storage() -> MigrationStorage:
    return MigrationStorage(Path(str(_folder() / "migrations")))


def _names() -> dict[int, str]:
    files: dict[int, str] = _storage().migration_filenames()
    return {version: name.removesuffix(".sql") for version, name in sorted(files.items())}


def _folder() -> Traversable:
    return resources.files(__package__)


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
