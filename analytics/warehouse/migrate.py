"""Brings a ClickHouse database to the schema of this release.

Tables are versioned files in `migrations/`, applied once and recorded with their checksum in `schema_migrations`.
Views hold no data, so the files in `views/` simply replace what is there. Retention is a setting, not a version: it is
applied whenever it differs.

With a cluster, the same files are rewritten statement by statement (`cluster.py`).

Splitting statements, checksums and the record of what was applied come from clickhouse-migrations, whose migrator takes
a connection of clickhouse-connect and so needs nothing but HTTP. Its lock needs Keeper, which a single server does not
have. Two runs at once are safe because every statement may run twice, and because a run that finds a table missing
tries again: another run may be renaming it.
"""

import re
import time
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_migrations.connection import ClickhouseConnectConnection
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migration import Migration, MigrationStorage
from clickhouse_migrations.migrator import STATUS_MD5_MISMATCH, STATUS_PENDING, Migrator
from clickhouse_migrations.substitution import substitute

from millstream.analytics.sql import identifier, rows, sql_file
from millstream.analytics.warehouse.cluster import LOCAL, clustered, definitions, distributed
from millstream.analytics.warehouse.pause import InsertPause

TABLE = "schema_migrations"
UNKNOWN_TABLE = "UNKNOWN_TABLE"
RENAMING_WAITS_S = (0.1, 0.3, 1.0, 3.0)
"""How long to wait before each new try when a table is missing, which another run may be renaming."""


class MigrationError(RuntimeError):
    """The database and the migration files contradict each other; nothing was applied."""


@dataclass(frozen=True)
class Applied:
    """A migration that has just been applied."""

    version: int
    name: str


def migrate(
    client: Client, database: str = "millstream", *, raw_days: int = 90, rollup_days: int = 400, cluster: str = ""
) -> list[Applied]:
    """Create `database` if need be and bring it up to date; returns what was pending. `client` then uses `database`.

    Raw rows are kept for `raw_days`, minute rollups for `rollup_days`, by event time. With `cluster`, the name of a
    cluster in the server's configuration, every table is replicated and sharded over it. Raises `MigrationError` when
    an applied file has been changed or is missing. While migrations are applied, sinks insert nothing; after a failure
    half way they wait, and the next run goes on from there.
    """
    on_cluster = f" ON CLUSTER {identifier(cluster)}" if cluster else ""
    client.command(f"CREATE DATABASE IF NOT EXISTS {identifier(database)}{on_cluster}", use_database=False)
    client.database = database
    _migrator(client).init_schema(cluster or None)
    pause = InsertPause(client, "migrate", cluster)
    if pending(client):
        pause.begin()
    versions = _apply_pending(client, cluster)
    # Not after an error: what is inserted while a migration is half applied may be missing from a table.
    pause.end()
    _apply_retention(client, raw_days, rollup_days, cluster)
    for statement in follow_up(cluster):
        client.command(statement)
    return [Applied(version, _names()[version]) for version in versions]


def table_names() -> list[str]:
    """Every table that the migrations create, in that order; not those that only a cluster has."""
    return list(definitions(statements()))


def follow_up(cluster: str = "") -> list[str]:
    """What holds no data and is made anew at every run: views, and in a cluster the tables over all shards."""
    if not cluster:
        return [view_text(name) for name in view_names()]
    tables = definitions(statements())
    over_shards = [distributed(name, cluster, definition) for name, definition in tables.items()]
    return over_shards + [each for name in view_names() for each in clustered(view_text(name), cluster, tables)]


def statements(cluster: str = "") -> list[str]:
    """Every statement of every migration, in order, as it is run."""
    return [each for migration in _migrations(cluster) for each in _split(migration.script)]


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
    return sql_file(f"warehouse/views/{name}")


def _apply_pending(client: Client, cluster: str) -> list[int]:
    """Apply what is pending; returns the versions. A failed try goes on from the last version that was recorded."""
    migrations, migrator = _migrations(cluster), _migrator(client)
    try:
        versions = [migration.version for migration in migrator.migrations_to_apply(migrations)]
        for wait_s in RENAMING_WAITS_S:
            try:
                migrator.apply_migration(migrations, multi_statement=True)
                return versions
            except DatabaseError as error:
                if UNKNOWN_TABLE not in str(error):
                    raise
                time.sleep(wait_s)
        migrator.apply_migration(migrations, multi_statement=True)
    except MigrationException as error:
        raise MigrationError(f"database {client.database!r}: {error}") from error
    return versions


def _apply_retention(client: Client, raw_days: int, rollup_days: int, cluster: str) -> None:
    described = rows(
        client,
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String}",
        {"database": client.database},
    )
    engines = {str(name): str(engine) for name, engine in described}
    tables = definitions(statements())
    text = sql_file("warehouse/retention")
    days = {"RAW_DAYS": str(raw_days), "ROLLUP_DAYS": str(rollup_days)}
    for statement in _split(substitute(text, days, "retention.sql")):
        found = re.search(r"ALTER TABLE (\w+) .*(toIntervalDay\(\d+\))", statement)
        assert found is not None
        if found[2] not in engines[found[1] + (LOCAL if cluster else "")]:
            for each in clustered(statement, cluster, tables) if cluster else [statement]:
                client.command(each)


def _migrations(cluster: str) -> list[Migration]:
    """The files; their checksums are of the files as they are, whatever a cluster makes of them."""
    migrations: list[Migration] = _storage().migrations()
    if not cluster:
        return migrations
    tables = definitions(statements())
    return [
        migration._replace(
            script=";\n".join(each for one in _split(migration.script) for each in clustered(one, cluster, tables))
        )
        for migration in migrations
    ]


def _split(script: str) -> list[str]:
    found: list[str] = Migrator.script_to_statements(script, multi_statement=True)
    return found


def _migrator(client: Client) -> Migrator:
    return Migrator(ClickhouseConnectConnection(client), migrations_table=TABLE, migration_log_format="compact")


def _storage() -> MigrationStorage:
    return MigrationStorage(Path(str(_folder() / "migrations")))


def _names() -> dict[int, str]:
    files: dict[int, str] = _storage().migration_filenames()
    return {version: name.removesuffix(".sql") for version, name in sorted(files.items())}


def _folder() -> Traversable:
    return resources.files(__package__)
