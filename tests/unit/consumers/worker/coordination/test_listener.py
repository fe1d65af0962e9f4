"""The coordination listener: every readable record is delivered once; unreadable ones are logged and skipped."""

import threading
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from millstream.consumers.kafka import topic_tail as module
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.worker.coordination import listener
from millstream.consumers.worker.coordination.listener import CoordinationListener
from millstream.schemas import DecodeError, KafkaConnection, RegistryUnavailable, TopicCatalogue
from tests.support.scripted_group import ScriptedMessage
from tests.support.waiting import until

TOPICS = TopicCatalogue(prefix="")
END = KafkaError(KafkaError._PARTITION_EOF)


class ScriptedConsumer:
    """Delivers the messages, then nothing."""

    def __init__(self, arriving: list[ScriptedMessage]) -> None:
        self.arriving = arriving
        self.closed = False
        self.refuses = 0

    def list_topics(self, topic: str, timeout_s: float) -> None:
        assert topic in (TOPICS.commands, TOPICS.heartbeats)

    def offsets_for_times(self, moments: list[TopicPartition], timeout_s: float) -> list[TopicPartition]:
        return [TopicPartition(each.topic, each.partition, OFFSET_END) for each in moments]

    def assign(self, partitions: list[Any]) -> None:
        if self.refuses:
            self.refuses -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        assert {each.topic for each in partitions} == {TOPICS.commands, TOPICS.heartbeats}

    def poll(self, timeout_s: float) -> ScriptedMessage | None:
        return self.arriving.pop(0) if self.arriving else None

    def close(self) -> None:
        self.closed = True


NOTHING_DENIED = DeniedRights(KafkaConnection("nowhere:1"))


class Recorder:
    """Both receivers; raises what it is given first, once each."""

    def __init__(self, *raises: Exception) -> None:
        self.received: list[Any] = []
        self.raises = list(raises)
        self.caught_up = threading.Event()
        self.up_to_date = False

    def reached_end(self) -> None:
        self.up_to_date = True

    def receive(self, *record: Any) -> None:
        if self.raises:
            raise self.raises.pop(0)
        self.received.append(record)


def listening(
    monkeypatch: pytest.MonkeyPatch, arriving: list[ScriptedMessage], *raises: Exception, refuses: int = 0
) -> Recorder:
    """Run a listener until it has read everything."""
    consumer, recorder = ScriptedConsumer(arriving), Recorder(*raises)
    consumer.refuses = refuses
    monkeypatch.setattr(module, "Consumer", lambda settings: consumer)
    receiver: Any = recorder
    with CoordinationListener({}, TOPICS, receiver, receiver, receiver, NOTHING_DENIED):
        until(lambda: not arriving)
    assert consumer.closed
    return recorder


def command(value: bytes | None = b"command") -> ScriptedMessage:
    return ScriptedMessage(TOPICS.commands, 0, 0, value)


def test_commands_and_heartbeats_are_delivered_and_the_end_of_the_commands_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = ScriptedMessage(TOPICS.commands, 0, 1, None, END)
    message = ScriptedMessage(TOPICS.heartbeats, 0, 0, b"heartbeat")
    recorder = listening(monkeypatch, [command(), message, end])
    assert recorder.received == [(b"", b"command", 0.0), (message,)]
    assert recorder.caught_up.is_set()
    assert not recorder.up_to_date


def test_an_unreadable_record_is_logged_with_its_place_and_the_next_one_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with capture_logs() as logs:
        recorder = listening(monkeypatch, [command(), command(b"next")], DecodeError("not ours"))
    assert recorder.received == [(b"", b"next", 0.0)]
    (logged,) = [each for each in logs if each["event"] == "coordination_record_unreadable"]
    assert (logged["topic"], logged["offset"], logged["reason"]) == (TOPICS.commands, 0, "not ours")


def test_a_record_is_delivered_once_the_schema_registry_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = listening(monkeypatch, [command(), command(b"next")], RegistryUnavailable("no route"))
    assert recorder.received == [(b"", b"command", 0.0), (b"", b"next", 0.0)]


def test_a_passing_error_of_the_consumer_does_not_end_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ScriptedMessage(TOPICS.commands, 0, 0, None, KafkaError(KafkaError._TRANSPORT, "a broker went away"))
    assert listening(monkeypatch, [lost, command()]).received == [(b"", b"command", 0.0)]


def test_topics_that_cannot_be_read_are_tried_again_and_are_not_taken_for_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "AGAIN_S", 0.01)
    recorder = listening(monkeypatch, [command()], refuses=2)
    assert recorder.received == [(b"", b"command", 0.0)]
    assert not recorder.caught_up.is_set()


@pytest.mark.parametrize(
    "error", [ValueError("of no kind that was foreseen"), SystemError("a broken list"), KeyError(1)]
)
def test_whatever_a_record_leads_to_the_next_one_is_delivered(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with capture_logs() as lines:
        recorder = listening(monkeypatch, [command(), command(b"next")], error)
    assert recorder.received == [(b"", b"next", 0.0)]
    assert [line["event"] for line in lines] == ["coordination_record_unreadable"]


def test_records_that_make_no_sense_are_counted_and_do_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    arriving = [command() for _ in range(500)]
    consumer, recorder = ScriptedConsumer(list(arriving)), Recorder(*[DecodeError("garbage")] * 500)
    monkeypatch.setattr(module, "Consumer", lambda settings: consumer)
    receiver: Any = recorder
    with (
        capture_logs() as lines,
        CoordinationListener({}, TOPICS, receiver, receiver, receiver, NOTHING_DENIED, counted.append),
    ):
        until(lambda: len(counted) == 500)
    assert counted == [TOPICS.commands] * 500
    assert 0 < len(lines) < 50
