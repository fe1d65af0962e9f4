"""Events with a field that the tables of a real ClickHouse engine do not have, or get while the sink runs."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from structlog.testing import capture_logs

from millstream.consumers.sink import table_columns
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.sources import EVENTS
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.writer import Writer
from millstream.schemas import PinnedRegistry
from millstream.schemas.registry import Schema
from tests.support.forged_events import event

EVENT_ID = PinnedRegistry().id_of("JobEvent")
NEWER_ID = 102


class NewerRelease(PinnedRegistry):
    """A registry that knows an event with one more field."""

    def schema_of(self, schema_id: int) -> Schema:
        if schema_id != NEWER_ID:
            return super().schema_of(schema_id)
        schema: Any = super().schema_of(EVENT_ID)
        return {**schema, "fields": [*schema["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}


def newer(note: bytes) -> bytes:
    return b"\0" + NEWER_ID.to_bytes(4) + event("t")[5:] + b"\x02" + bytes([2 * len(note)]) + note


def test_a_new_field_is_named_once_and_filled_as_soon_as_both_tables_have_its_column(
    own_clickhouse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_columns, "ASK_AGAIN_S", 0.0)
    status = SinkStatus()
    schemas = RecordSchemas(NewerRelease(), EVENTS.record)
    writer = Writer(own_clickhouse, schemas, EVENTS, "jobs.events", "id", status)
    inserted = 0

    def insert() -> tuple[list[tuple[str, list[str]]], list[str]]:
        """The fields and tables that were named, and the notes that are in the table."""
        nonlocal inserted
        values = [(inserted, None, newer(b"first")), (inserted + 1, None, event("t"))]
        with capture_logs() as lines:
            writer.write(0, InsertBatch(Intent(inserted, inserted + 2), Records.of(values)))
        inserted += 2
        rows = own_clickhouse.query("SELECT count(), uniqExact(kafka_offset) FROM job_events").result_rows
        assert rows == [(inserted, inserted)]
        has_note = own_clickhouse.query(
            "SELECT count() FROM system.columns "
            "WHERE database = currentDatabase() AND table = 'job_events' AND name = 'note'"
        ).result_rows == [(1,)]
        notes = own_clickhouse.query("SELECT note FROM job_events WHERE note != ''").result_rows if has_note else []
        return [(line["field"], line["tables"]) for line in lines], [note for (note,) in notes]

    assert insert() == ([("note", ["job_events", "job_events_landing"])], [])
    assert insert() == ([], []) and status.fields_left_out == 1
    for table in ("job_events_landing", "job_events_check"):
        own_clickhouse.command(f"ALTER TABLE {table} ADD COLUMN note String")
    assert insert() == ([], []), "the landing table passes it on in vain"
    assert status.fields_left_out == 1
    own_clickhouse.command("ALTER TABLE job_events ADD COLUMN note String")
    assert insert() == ([], ["first"]) and status.fields_left_out == 0
