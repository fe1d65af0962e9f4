"""What the sink doubts of a record against what a real ClickHouse engine says of it."""

from itertools import islice

import pytest
from clickhouse_connect.driver.client import Client

from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.doubtful import Doubts
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.sources import EVENTS, LOW_VOLUME, Source
from millstream.consumers.sink.writer import Writer
from millstream.schemas import Codec, PinnedRegistry, TopicCatalogue
from tests.support.random_records import RandomRecords

REGISTRY = PinnedRegistry()
TOPICS = TopicCatalogue("t.")


def records_of(source: Source, count: int) -> list[bytes]:
    """Random records of a source's topic, damaged ones among them, all with its schema id."""
    header, topic = Codec().header(source.record), source.topic(TOPICS)
    found = (
        record.value
        for record in RandomRecords(TOPICS, seed=11, long_values=0)
        if record.topic == topic and record.value and record.value.startswith(header)
    )
    return list(islice(found, count))


@pytest.mark.parametrize("source", [EVENTS, LOW_VOLUME[3]], ids=lambda source: source.table)
def test_clickhouse_rejects_every_record_that_is_doubted_and_hardly_another(clickhouse: Client, source: Source) -> None:
    writer = Writer(clickhouse, RecordSchemas(REGISTRY, source.record), source, "topic", "id")
    doubts = Doubts(REGISTRY.schema_of(REGISTRY.id_of(source.record)), dated=source.dated)
    doubted, rejected = set(), set()
    for offset, value in enumerate(records_of(source, 100)):
        if doubts.reason(value):
            doubted.add(offset)
        batch = InsertBatch(Intent(offset, offset + 1), Records.of([(offset, b"k", value)]))
        if writer.write(0, batch, refusals=1).rejected:
            rejected.add(offset)
    assert doubted <= rejected
    assert len(doubted) >= 0.98 * len(rejected) > 0
