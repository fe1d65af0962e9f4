"""A member that leaves, on a scripted consumer."""

from typing import cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka import membership
from millstream.consumers.kafka.membership import Membership, give_up
from tests.support.scripted_group import ScriptedConsumer, ScriptedMessage

TOPIC = "jobs.default"


def test_what_has_arrived_is_handled_before_the_consumer_closes() -> None:
    consumer = ScriptedConsumer()
    consumer.arriving.append([ScriptedMessage(TOPIC, 0, 0, b"")])
    Membership(cast(Consumer, consumer)).leave()
    assert not consumer.arriving
    assert consumer.calls == [("close", None)]


def test_a_member_closes_although_records_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(ScriptedConsumer):
        def consume(self, count: int, timeout: float) -> list[ScriptedMessage]:
            return [ScriptedMessage(TOPIC, 0, 0, b"")]

    monkeypatch.setattr(membership, "SERVE_WITHIN_S", 0.01)
    consumer = Endless()
    Membership(cast(Consumer, consumer)).leave()
    assert consumer.calls == [("close", None)]


def test_a_consumer_is_closed_when_a_rebalance_fails_meanwhile() -> None:
    class Failing(ScriptedConsumer):
        def consume(self, count: int, timeout: float) -> list[ScriptedMessage]:
            raise ValueError("on_revoke failed")

    consumer = Failing()
    with pytest.raises(ValueError, match="on_revoke failed"):
        Membership(cast(Consumer, consumer)).leave()
    assert consumer.calls == [("close", None)]


def test_of_what_is_revoked_a_client_gives_up_what_it_reads() -> None:
    consumer = ScriptedConsumer()
    consumer.incremental_assign([TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 2)])
    give_up(cast(Consumer, consumer), [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    assert consumer.calls[-1] == ("unassign", [0])
