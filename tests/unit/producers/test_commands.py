"""Which commands are active, as the command topic tells."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from millstream.producers import CommandNotSent, active_commands, commands_topic, remove_expired_cancellations
from millstream.producers import commands as module
from millstream.schemas import Action, Codec, Command, KafkaConnection, Scope, TopicCatalogue
from tests.support.scripted_group import ScriptedMessage

CODEC = Codec()
TOPICS = TopicCatalogue(prefix="", retention_days=7)
OLD = datetime.now(UTC) - timedelta(days=8)


class KeyedMessage(ScriptedMessage):
    """A command, or the tombstone that revokes it."""

    def __init__(self, command: Command, revoked: bool = False, sent_at: datetime = OLD) -> None:
        super().__init__(TOPICS.commands, 0, 0, None if revoked else CODEC.encode(command), key=command.key)
        self._sent_at = sent_at

    def timestamp(self) -> tuple[int, int]:
        return (1, round(self._sent_at.timestamp() * 1000))


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedMessage]:
    """What the topic holds."""
    messages: list[ScriptedMessage] = []

    class ScriptedConsumer:
        def __init__(self, settings: dict[str, Any]) -> None:
            end = ScriptedMessage(TOPICS.commands, 0, 0, None, KafkaError(KafkaError._PARTITION_EOF))
            self._arriving = [*messages, end]

        def list_topics(self, topic: str, timeout_s: float) -> Any:
            return SimpleNamespace(topics={topic: SimpleNamespace(error=None)})

        def assign(self, partitions: list[Any]) -> None:
            pass

        def poll(self, timeout_s: float) -> ScriptedMessage:
            return self._arriving.pop(0)

        def close(self) -> None:
            pass

    monkeypatch.setattr(commands_topic, "Consumer", ScriptedConsumer)
    return messages


class ScriptedProducer:
    """Acknowledges every record, or none."""

    written: list[tuple[bytes, bytes | None]]
    refused = False

    def __init__(self, settings: dict[str, Any]) -> None:
        self._callbacks: list[Any] = []

    def list_topics(self, topic: str, timeout_s: float) -> None:
        pass

    def produce(self, topic: str, value: bytes | None, key: bytes, on_delivery: Any) -> None:
        self.written.append((key, value))
        self._callbacks.append(on_delivery)

    def flush(self, timeout_s: float) -> int:
        for callback in self._callbacks:
            callback(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED) if self.refused else None, None)
        return 0


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> type[ScriptedProducer]:
    ScriptedProducer.written, ScriptedProducer.refused = [], False
    monkeypatch.setattr(commands_topic, "Producer", ScriptedProducer)
    return ScriptedProducer


def cancel(job_id: str, **fields: Any) -> Command:
    return Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=job_id, **fields)


def test_revoked_commands_and_cancellations_older_than_any_request_are_not_active(topic: list[ScriptedMessage]) -> None:
    old_pause = Command(action=Action.PAUSE, scope=Scope.TENANT, target="acme", issued_at=OLD)
    fresh, revoked = cancel("fresh"), cancel("revoked")
    topic += [KeyedMessage(each) for each in (old_pause, cancel("expired", issued_at=OLD), fresh, revoked)]
    topic.append(KeyedMessage(revoked, revoked=True))
    assert active_commands(KafkaConnection("nowhere"), TOPICS, CODEC) == [old_pause, fresh]


def test_only_cancellations_that_are_older_than_any_request_are_removed(
    topic: list[ScriptedMessage], producer: type[ScriptedProducer]
) -> None:
    now = datetime.now(UTC)
    old_pause = Command(action=Action.PAUSE, scope=Scope.TENANT, target="acme", issued_at=OLD)
    expired, again, revoked = (cancel(each, issued_at=OLD) for each in ("expired", "again", "revoked"))
    topic += [KeyedMessage(each) for each in (old_pause, expired, again, revoked)]
    topic += [KeyedMessage(revoked, revoked=True), KeyedMessage(cancel("again"), sent_at=now)]
    # The clock of whoever sent it is wrong.
    topic.append(KeyedMessage(cancel("behind", issued_at=OLD), sent_at=now))
    assert remove_expired_cancellations(KafkaConnection("nowhere"), TOPICS, CODEC) == 1
    assert producer.written == [(expired.key, None)]


def test_expired_cancellations_that_cannot_be_removed_are_an_error(
    topic: list[ScriptedMessage], producer: type[ScriptedProducer]
) -> None:
    topic.append(KeyedMessage(cancel("expired", issued_at=OLD)))
    producer.refused = True
    with pytest.raises(CommandNotSent, match="did not acknowledge"):
        remove_expired_cancellations(KafkaConnection("nowhere"), TOPICS, CODEC)


def test_so_many_are_removed_at_once_as_a_producer_holds(
    topic: list[ScriptedMessage], producer: type[ScriptedProducer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMOVED_AT_ONCE", 2)
    commands = [cancel(f"job-{number}", issued_at=OLD) for number in range(3)]
    topic += [KeyedMessage(each) for each in commands]
    assert remove_expired_cancellations(KafkaConnection("nowhere"), TOPICS, CODEC) == 2
    assert producer.written == [(each.key, None) for each in commands[:2]]
