"""While tables change, no sink inserts: a table that a migration adds holds what was inserted before, during and after
it."""

import itertools
import threading
from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.httpclient import HttpClient

from millstream.analytics import connect, migrate, pending
from millstream.analytics.warehouse import pause as pause_module
from millstream.analytics.warehouse.pause import MESSAGE, InsertPause, InsertsGoOn, inserts_paused, pausing
from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.consumers.sink import EVENTS, LOW_VOLUME
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.writer import PAUSED, InsertsPaused, Writer
from millstream.schemas import PinnedRegistry
from tests.support.job_events import life_of_jobs
from tests.support.waiting import until

HOUR_ROLLUPS = {
    "throughput_1h": "throughput_1h_from_minutes",
    "latency_1h": "latency_1h_from_minutes",
    "lane_latency_1m": "lane_latency_1m_from_latency",
    "cost_1h": "cost_1h_from_minutes",
}


def writer_to(client: Client) -> Writer:
    return Writer(client, RecordSchemas(PinnedRegistry(), EVENTS.record), EVENTS, "jobs.events", "id")


def batch(turn: int, jobs: int = 20) -> InsertBatch:
    values = [value for _, value in life_of_jobs(jobs, seed=turn)]
    first = turn * 1000
    records = Records(list(range(first, first + len(values))), [None] * len(values), list(values))
    return InsertBatch(Intent(first, first + len(values)), records)


def insert_until(stop: Callable[[], bool], client: Client, inserted: list[int], paused: list[int]) -> None:
    """What a sink does: each batch is tried until it is inserted."""
    writer = writer_to(client)
    for turn in itertools.count(1):
        while not stop():
            try:
                inserted.append(writer.write(0, batch(turn)).rows)
                break
            except InsertsPaused:
                paused.append(turn)
        if stop():
            return


def test_a_rollup_that_a_migration_adds_beside_a_running_sink_lacks_no_row(own_clickhouse: Client) -> None:
    """The tables of before the hour rollups, which are made of minute rollups of before and views from then on."""
    database = own_clickhouse.database or ""
    for table, view in HOUR_ROLLUPS.items():
        own_clickhouse.command(f"DROP TABLE {view} SYNC")
        own_clickhouse.command(f"DROP TABLE {table} SYNC")
    own_clickhouse.command("ALTER TABLE schema_migrations DELETE WHERE version = 16 SETTINGS mutations_sync = 2")
    assert pending(own_clickhouse) == ["0016_hour_rollups"]
    migrated = threading.Event()
    inserted: list[int] = []
    paused: list[int] = []
    after = [0]

    def enough() -> bool:
        if migrated.is_set():
            after[0] = after[0] or len(inserted) + 2
            return len(inserted) >= after[0]
        return False

    assert isinstance(own_clickhouse, HttpClient)
    url = own_clickhouse.url
    sink = threading.Thread(target=insert_until, args=(enough, connect(url, database=database), inserted, paused))
    sink.start()
    try:
        until(lambda: len(inserted) > 2)
        assert [step.name for step in migrate(connect(url, database=database), database)] == ["0016_hour_rollups"]
    finally:
        migrated.set()
        sink.join(60)
    assert paused, "nothing was inserted meanwhile"
    assert int(str(own_clickhouse.command("SELECT sum(events) FROM throughput_1h"))) == sum(inserted)
    assert disagreements(own_clickhouse) == []


def test_a_pause_rejects_what_every_sink_inserts_and_none_of_it_is_taken_for_a_bad_record(
    clickhouse: Client,
) -> None:
    writer = writer_to(clickhouse)
    with inserts_paused(clickhouse, "tables repair"):
        with pytest.raises(InsertsPaused, match="millstream tables repair"):
            writer.write(0, batch(1))
        for source in (EVENTS, *LOW_VOLUME):
            with pytest.raises(DatabaseError, match=MESSAGE):
                clickhouse.command(f"INSERT INTO {source.landing_table} (record_end) VALUES ('MILLSTRM')")
        assert clickhouse.command("SELECT count() FROM job_events") == 0
    assert writer.write(0, batch(1)).rows == 60
    assert PAUSED == MESSAGE


def test_a_pause_begins_when_the_inserts_of_before_have_ended(clickhouse: Client) -> None:
    database = clickhouse.database or ""
    assert isinstance(clickhouse, HttpClient)
    slow = connect(clickhouse.url, database=database)
    ended = threading.Event()

    def insert() -> None:
        slow.command(
            "INSERT INTO job_events_landing (kind, occurred_at, read_offset, record_end, tenant) "
            "SELECT 'started', now(), number, 'MILLSTRM', toString(sleepEachRow(0.2)) FROM numbers(10) "
            "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0"
        )
        ended.set()

    thread = threading.Thread(target=insert)
    thread.start()
    pause = InsertPause(clickhouse, "migrate")
    until(lambda: bool(pause._under_way()))
    pause.begin()
    pause.end()
    assert ended.wait(1), "the insert was still under way"
    thread.join()


def test_inserts_that_do_not_end_are_an_error(clickhouse: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause_module, "ENDS_WITHIN_S", 0.0)
    monkeypatch.setattr(InsertPause, "_under_way", lambda self: 1)
    pause = InsertPause(clickhouse, "migrate")
    with pytest.raises(InsertsGoOn, match="1 inserts"):
        pause.begin()
    pause.end()


def test_a_migration_that_was_interrupted_leaves_sinks_waiting_until_one_has_succeeded(clickhouse: Client) -> None:
    InsertPause(clickhouse, "migrate").begin()
    assert pausing(clickhouse) == ["migrate"]
    writer = writer_to(clickhouse)
    with pytest.raises(InsertsPaused):
        writer.write(0, batch(1))
    migrate(clickhouse, clickhouse.database or "")
    assert writer.write(0, batch(1)).rows == 60
    assert pausing(clickhouse) == []
