"""Records that a tenant made to harm others, inserted into a real ClickHouse engine by the sink's writer."""

import itertools
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.sources import EVENTS
from millstream.consumers.sink.writer import HTTP_SETTINGS, Writer
from millstream.schemas import PinnedRegistry
from tests.support.forged_events import FILE, FORGER, VICTIM, Forgery, event, forgeries

MARK = bytes(range(16))


def writer_to(client: Any) -> Writer:
    return Writer(client, RecordSchemas(PinnedRegistry(), EVENTS.record), EVENTS, "jobs.events", "id")


def batch_of(values: list[bytes], first: int = 0) -> InsertBatch:
    records = Records.of((first + at, b"k", value) for at, value in enumerate(values))
    return InsertBatch(Intent(first, first + len(records)), records)


def rows_of(clickhouse: Client) -> dict[int, tuple[str, str]]:
    """Tenant and message by offset. Each offset is there once."""
    found = clickhouse.query("SELECT kafka_offset, tenant, message FROM job_events WHERE kafka_partition = 0").result_rows
    assert len({row[0] for row in found}) == len(found)
    return {int(offset): (str(tenant), str(message)) for offset, tenant, message in found}


class Overheard:
    """A client whose inserts a forger has seen."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.files: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def raw_insert(self, table: str, columns: Any, block: bytes, **more: Any) -> Any:
        self.files.append(block)
        return self.client.raw_insert(table, columns, block, **more)

    @property
    def last_mark(self) -> bytes:
        """The start mark of the last file: behind its header and the two numbers of its only block."""
        header = FILE.build(0, [], [])
        block = next(file for file in reversed(self.files) if len(file) > len(header))[len(header) :]
        numbers = 0
        while numbers < 2:
            numbers, block = numbers + (block[0] < 0x80), block[1:]
        return block[:16]


def test_no_forgery_changes_a_row_of_another_tenant_and_every_record_is_accounted_for(clickhouse: Client) -> None:
    """Each forgery is tried with the marks of the insert before it, in one batch with records of the victim."""
    client = Overheard(clickhouse)
    writer = writer_to(client)
    writer.write(0, batch_of([event(VICTIM, "true")]))
    first = 1
    expected = {0}
    names = [forgery.name for forgery in forgeries(0, first, MARK)]
    for number, name in enumerate(names):
        forgery: Forgery = next(itertools.islice(forgeries(0, first, client.last_mark), number, None))
        assert forgery.name == name
        result = writer.write(0, batch_of(forgery.values, first))
        offsets = {first + at for at in range(len(forgery.values))}
        rejected = {found.offset for found in result.rejected}
        assert result.rows + len(rejected) == len(offsets), name
        assert not rejected & {first + at for at in forgery.victims}, name
        rows = rows_of(clickhouse)
        expected |= offsets - rejected
        assert set(rows) == expected, name
        assert {rows[first + at] for at in forgery.victims} == {(VICTIM, "true")}, name
        assert {rows[at][0] for at in offsets - rejected} <= {VICTIM, FORGER}
        first += len(forgery.values)
    assert "forged" not in {message for _, message in rows_of(clickhouse).values()}
    (counted,) = clickhouse.query("SELECT sum(events) FROM throughput_1m").result_rows
    assert counted == (len(expected),)


def test_a_forger_who_knew_the_marks_would_succeed(clickhouse: Client) -> None:
    """Else the test above would show nothing."""
    forgery = next(forgeries(0, 0, MARK))
    file = FILE.build(0, range(3), forgery.values, MARK)
    clickhouse.raw_insert("job_events_landing", FILE.field_names, file, settings=HTTP_SETTINGS, fmt="Avro")
    assert rows_of(clickhouse)[1] == (VICTIM, "forged")


def test_a_repeat_with_other_marks_is_dropped_in_every_table(clickhouse: Client) -> None:
    def counts() -> list[int]:
        tables = ("job_events", "jobs", "throughput_1m", "backlog_1m", "throughput_1h")
        return [int(clickhouse.query(f"SELECT count() FROM {table}").result_rows[0][0]) for table in tables]

    client = Overheard(clickhouse)
    batch = batch_of([event(VICTIM) for _ in range(20)])
    writer_to(client).write(0, batch)
    before = counts()
    assert before[0] == 20 and all(before)
    writer_to(client).write(0, batch)
    assert counts() == before
    assert len(set(client.files)) == 2, "the marks differ"
