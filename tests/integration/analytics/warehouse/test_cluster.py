"""The replicated and sharded variant: made of the same files, and every statement is one that the engine can run.

The engine has no Keeper and no listener, so the statements run on a cluster whose two shards are both the engine
itself, without `ON CLUSTER` and with engines that are not replicated. What is inserted through a Distributed table is
spread over the "shards", and read from it twice.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chdb import _chdb
from clickhouse_connect.driver.client import Client

from millstream.analytics.warehouse.catalogue import View, views
from millstream.analytics.warehouse.cluster import clustered
from millstream.analytics.warehouse.migrate import follow_up, statements
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.local.ports import free_port
from millstream.schemas.registry import current_schema
from tests.support.job_events import life_of_jobs

VARIANT = [*statements("main"), *follow_up("main")]
JOBS = 200
SHARD = "<shard><replica><host>{host}</host><port>{port}</port></replica></shard>"


class Shards:
    """The engine, with a cluster `main` that is two shards of itself."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        shards = "".join(SHARD.format(host=host, port=port) for host in ("127.0.0.1", "localhost"))
        config = folder / "config.xml"
        config.write_text(
            f"<clickhouse><tcp_port>{port}</tcp_port><remote_servers><main>{shards}</main></remote_servers></clickhouse>"
        )
        self._connection: Any = _chdb.connect(  # type: ignore[attr-defined]
            f"file:{folder / 'data'}?config-file={config}"
        )

    def run(self, statement: str) -> list[str]:
        """The lines of the answer."""
        text = statement.replace(" ON CLUSTER `main`", "")
        text = re.sub(r"ENGINE = Replicated(\w*MergeTree)", r"ENGINE = \1", text)
        text = text.replace(" replicated_deduplication_window", " non_replicated_deduplication_window")
        lines: list[str] = self._connection.query(text, "TSV").bytes().decode().splitlines()
        return lines

    def insert(self, table: str, columns: list[str], path: Path) -> None:
        """Insert an Avro file as the sink does, but without tokens: one engine would take the second shard's rows of a
        batch for a repeat of the first's."""
        settings = ", ".join(
            f"{name} = {value}" for name, value in {**INSERT_SETTINGS, "insert_deduplicate": 0}.items()
        )
        names = ", ".join(columns)
        self.run(f"INSERT INTO {table} ({names}) SETTINGS {settings} SELECT {names} FROM file('{path}', Avro)")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    """Two shards with this release's tables and views, and a batch of events."""
    engine = Shards(tmp_path_factory.mktemp("shards"))
    assert engine.run("SELECT count(), uniqExact(shard_num) FROM system.clusters WHERE cluster = 'main'") == ["2\t2"]
    for statement in 2 * VARIANT:  # as after a migration that stopped half way
        engine.run(statement)
    values = [value for _, value in life_of_jobs(JOBS, around=datetime(2026, 11, 24, 10, tzinfo=UTC))]
    file = AvroFile(current_schema("JobEvent"))
    (path := tmp_path_factory.mktemp("batch") / "events.avro").write_bytes(file.build(0, range(len(values)), values))
    engine.insert("job_events_landing", file.field_names, path)
    yield engine
    engine.close()


@pytest.mark.parametrize("view", views(), ids=lambda view: view.name)
def test_every_view_can_be_queried(shards: Shards, view: View) -> None:
    shards.run(view.example)


def test_a_batch_reaches_every_table_of_every_shard(shards: Shards) -> None:
    counts = [
        ("job_events", "count()", 3 * JOBS),
        ("job_events", "uniqExact(kafka_offset)", 3 * JOBS),
        ("job_attempts", "count()", JOBS),
        ("jobs", "uniqExact(job_id)", JOBS),
        ("throughput_1m", "sum(events)", 3 * JOBS),
        ("throughput_1h", "sum(events)", 3 * JOBS),
        ("latency_1h", "sumIf(attempts, stage = 'run')", JOBS),
        ("lane_latency_1m", "sumIf(attempts, stage = 'run')", JOBS),
        ("cost_1m", "sum(attempts)", JOBS),
        ("cost_1h", "sum(attempts)", JOBS),
    ]
    for table, found, expected in counts:
        assert shards.run(f"SELECT {found} FROM {table}_local") == [str(expected)], table
    assert shards.run("SELECT count() FROM job_events") == [str(2 * 3 * JOBS)], "both shards are asked"


def test_rows_of_before_a_rollup_are_copied_to_it(shards: Shards) -> None:
    copies = [each for each in VARIANT if each.startswith("INSERT INTO ") and "SELECT" in each]
    targets = {each.split()[2]: each for each in copies}
    assert set(targets) == {"throughput_1h", "latency_1h", "lane_latency_1m", "cost_1h"}
    for table, copy in targets.items():
        whole = f"SELECT sum({'events' if table == 'throughput_1h' else 'attempts'}) FROM {table}_local"
        before = shards.run(whole)
        shards.run(f"TRUNCATE TABLE {table}_local")
        for _ in range(2):
            shards.run(copy)
            assert shards.run(whole) == before, table


def test_the_engine_parses_every_statement(clickhouse: Client) -> None:
    for statement in VARIANT:
        tree = str(clickhouse.command(f"EXPLAIN AST {statement.rstrip(';')}"))
        assert tree.split(maxsplit=1)[0].endswith(("Query", "Rename")), statement


def test_the_table_over_all_shards_has_a_column_as_soon_as_it_is_added(shards: Shards) -> None:
    tables = {"kept": "CREATE TABLE IF NOT EXISTS kept (id String) ENGINE = MergeTree ORDER BY id"}
    for statement in (*tables.values(), "ALTER TABLE kept ADD COLUMN IF NOT EXISTS added UInt8"):
        for each in clustered(statement, "main", tables):
            shards.run(each)
    assert shards.run("SELECT count(added) FROM kept") == ["0"]
