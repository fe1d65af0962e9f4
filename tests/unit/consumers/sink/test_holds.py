"""A partition waits at a record that a newer release wrote, or whose schema the registry does not tell; the others go
on, and no record is lost, inserted twice or sent to the dead letters."""

import gc
import weakref

import pytest
import structlog
from confluent_kafka import KafkaError, TopicPartition

from millstream.consumers.sink import holds as holds_module
from millstream.consumers.sink import reading as reading_module
from millstream.consumers.sink import record_schemas as record_schemas_module
from millstream.consumers.sink.avro_file import HEADER_BYTES
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.schemas import PinnedRegistry, RegistryUnavailable
from millstream.schemas.registry import NewerSchema, Schema, UnannouncedSchema, UnknownSchema
from tests.support.scripted_group import ScriptedMessage
from tests.support.scripted_sink import EVENT, NEWER, NEWER_ID, TOPIC, Parts, ScriptedRegistry
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "PARTITION", ScriptedMessage.partition)
    monkeypatch.setattr(reading_module, "OFFSET", ScriptedMessage.offset)
    monkeypatch.setattr(reading_module, "Message", ScriptedMessage)
    monkeypatch.setattr(record_schemas_module, "ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(record_schemas_module, "ANSWER_WITHIN_S", 0.2)


def goes_on(parts: Parts) -> bool:
    parts.turn()
    return not parts.status.held


def test_what_is_before_a_record_of_a_newer_release_is_inserted_and_acknowledged_and_nothing_from_it_on() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive_values(0, 10, [EVENT, EVENT, NEWER, EVENT])
    parts.inserted(1)
    parts.turn()
    assert parts.writer.written == [(0, 10, 12)]
    assert parts.consumer.commits[TOPIC, 0].offset == 12 and not parts.consumer.commits[TOPIC, 0].metadata
    assert parts.consumer.paused == {(TOPIC, 0)}
    assert parts.status.dead_records == 0 and parts.letters.sent == []
    assert parts.status.held[0].startswith("offset 12: schema id")


def test_the_other_partitions_go_on() -> None:
    parts = Parts()
    parts.assign(0, 1)
    parts.arrive_values(0, 0, [NEWER])
    parts.arrive(1, 5, 3)
    parts.inserted(1)
    parts.arrive(1, 8, 3)
    parts.inserted(2)
    assert parts.writer.written == [(1, 5, 8), (1, 8, 11)]
    assert parts.consumer.paused == {(TOPIC, 0)}


def test_a_held_partition_is_read_again_from_its_record_once_the_schema_is_known() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive_values(0, 10, [EVENT, NEWER, EVENT])
    parts.inserted(1)
    parts.registry.knows_newer = True
    until(lambda: goes_on(parts))
    parts.turn()
    assert ("seek", (0, 11)) in parts.consumer.calls and parts.consumer.paused == set()
    parts.arrive_values(0, 11, [NEWER, EVENT])
    parts.inserted(2)
    assert parts.writer.written == [(0, 10, 11), (0, 11, 13)]


def test_what_is_still_delivered_of_a_held_partition_is_not_taken() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive_values(0, 10, [NEWER])
    parts.turn()
    parts.arrive(0, 11, 5)
    end = KafkaError(KafkaError._PARTITION_EOF)
    parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, 16, None, end)])
    parts.reading.read()
    parts.registry.knows_newer = True
    until(lambda: goes_on(parts))
    parts.arrive_values(0, 10, [NEWER, EVENT, EVENT])
    parts.inserted(1)
    assert parts.writer.written == [(0, 10, 13)]


def test_a_range_that_a_newer_release_announced_is_left_as_it_is_for_one_that_can_insert_it() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "v1 until=13")
    parts.assign(0)
    parts.arrive_values(0, 10, [EVENT, NEWER, EVENT, EVENT])
    parts.turn()
    assert parts.writer.written == [] and 0 in parts.status.held
    parts.revoke(0)
    assert parts.commits_made() == [] and parts.status.held == {}


def test_an_announced_range_is_inserted_exactly_after_its_partition_was_held() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "v1 until=13")
    parts.assign(0)
    parts.arrive_values(0, 10, [EVENT, NEWER, EVENT, EVENT])
    parts.turn()
    parts.registry.knows_newer = True
    until(lambda: goes_on(parts))
    parts.arrive_values(0, 10, [EVENT, NEWER, EVENT, EVENT])
    parts.inserted(2)
    assert parts.writer.written == [(0, 10, 13), (0, 13, 14)]


def test_a_registry_that_does_not_answer_holds_only_partitions_with_schemas_that_are_not_known_yet() -> None:
    parts = Parts()
    parts.assign(0, 1)
    parts.arrive(1, 0, 1)
    parts.inserted(1)
    parts.registry.away = parts.registry.knows_newer = True
    parts.arrive_values(0, 0, [NEWER])
    parts.arrive(1, 1, 1)
    parts.inserted(2)
    assert parts.status.held == {0: "offset 0: no answer"}
    parts.registry.away = False
    until(lambda: goes_on(parts))


def test_the_poll_thread_does_not_wait_for_a_slow_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_schemas_module, "ANSWER_WITHIN_S", 0.0)
    parts = Parts()
    parts.registry.answers.clear()
    parts.assign(0)
    parts.arrive(0, 0, 1)
    parts.turn()
    assert parts.status.held == {0: "offset 0: its schema is still being looked up"}
    parts.registry.answers.set()
    until(lambda: goes_on(parts))
    parts.arrive(0, 0, 1)
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 1)]


@pytest.mark.parametrize(("looked_up_within_s", "lines"), [(60, []), (0, ["partition_held", "partition_goes_on"])])
def test_a_schema_id_that_is_looked_up_within_a_moment_is_worth_no_line(
    monkeypatch: pytest.MonkeyPatch, looked_up_within_s: float, lines: list[str]
) -> None:
    monkeypatch.setattr(record_schemas_module, "ANSWER_WITHIN_S", 0.0)
    monkeypatch.setattr(holds_module, "LOOKED_UP_WITHIN_S", looked_up_within_s)
    parts = Parts()
    parts.registry.answers.clear()
    parts.assign(0)
    parts.arrive(0, 0, 1)
    with structlog.testing.capture_logs() as found:
        parts.turn()
        parts.registry.answers.set()
        until(lambda: goes_on(parts))
    assert [line["event"] for line in found] == lines


def test_records_that_no_release_can_read_are_left_to_the_writer_which_rejects_them() -> None:
    parts = Parts()
    parts.assign(0)
    garbage = [b"", b"\x07 something", b"\0\x7f\xff\xff\xff of an id that nobody has", b"\0\0\0\0\1a request"]
    parts.arrive_values(0, 0, garbage)
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 4)] and parts.status.held == {}


def test_bytes_that_are_no_header_wait_for_no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_schemas_module, "ANSWER_WITHIN_S", 0.0)
    parts = Parts()
    parts.registry.answers.clear()
    parts.assign(0)
    parts.arrive_values(0, 0, [b"", b"\0\0", b"\xa2 no magic byte"])
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 3)] and parts.status.held == {}


def test_an_unannounced_schema_holds_no_partition_while_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ScriptedRegistry()
    registry.unannounced = True
    schemas = RecordSchemas(registry, "JobEvent")
    header = NEWER[:5]
    until(lambda: schemas.unreadable([header]) == {})
    monkeypatch.setattr(record_schemas_module, "ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(record_schemas_module, "ANSWER_WITHIN_S", 0.0)
    registry.answers.clear()
    assert schemas.unreadable([header]) == {}, "the last answer counts until the next one"
    registry.unannounced = False
    registry.answers.set()
    monkeypatch.setattr(record_schemas_module, "ANSWER_WITHIN_S", 10.0)
    until(lambda: "a newer release" in schemas.unreadable([header]).get(header, ""))
    schemas.close()


def test_a_warning_a_minute_names_topic_partition_offset_and_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    parts.assign(0)
    with structlog.testing.capture_logs() as lines:
        parts.arrive_values(0, 0, [EVENT, NEWER])
        for _ in range(5):
            parts.turn()
        held = [line for line in lines if line["event"] == "partition_held"]
        assert len(held) == 1
        found = {name: held[0][name] for name in ("topic", "partition", "offset", "schema_id", "log_level")}
        expected = {"topic": TOPIC, "partition": 0, "offset": 1, "schema_id": NEWER_ID, "log_level": "warning"}
        assert found == expected
        monkeypatch.setattr(holds_module, "WARN_INTERVAL_S", 0.0)
        parts.turn()
    assert len([line for line in lines if line["event"] == "partition_held"]) == 2


@pytest.mark.parametrize("error", [NewerSchema, UnannouncedSchema, UnknownSchema, RegistryUnavailable])
def test_what_is_remembered_of_a_schema_id_does_not_keep_the_batch_in_which_it_was(error: type[Exception]) -> None:
    class Refusing(PinnedRegistry):
        def schema_of(self, schema_id: int) -> Schema:
            raise error("no such schema")

    schemas = RecordSchemas(Refusing(), "JobEvent")

    def look() -> weakref.ref[object]:
        batch = Parts()
        schemas.unreadable({NEWER[:HEADER_BYTES]})
        return weakref.ref(batch)

    kept = [look() for _ in range(3)]
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)
    schemas.close()
