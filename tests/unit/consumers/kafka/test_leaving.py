"""The steps of leaving a group, on a scripted consumer."""

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from millstream.consumers.kafka import leaving as leaving_module
from millstream.consumers.kafka.leaving import leave_group
from tests.support.scripted_group import ScriptedConsumer, ScriptedMessage


def leaving(consumer: ScriptedConsumer, static: bool = False) -> ScriptedConsumer:
    consumer.arriving.append([ScriptedMessage("jobs.default", 0, 0, b"")])
    leave_group(cast(Consumer, consumer), static)
    return consumer


def test_the_subscription_ends_and_what_has_arrived_is_handled_before_the_consumer_closes() -> None:
    consumer = leaving(ScriptedConsumer())
    assert consumer.calls == [("unsubscribe", None), ("close", None)]
    assert not consumer.arriving


def test_a_static_member_keeps_its_place_in_the_group() -> None:
    consumer = leaving(ScriptedConsumer(), static=True)
    assert consumer.calls == [("close", None)]
    assert not consumer.arriving


def test_a_static_member_closes_although_records_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(ScriptedConsumer):
        def consume(self, count: int, timeout: float) -> list[ScriptedMessage]:
            return [ScriptedMessage("jobs.default", 0, 0, b"")]

    monkeypatch.setattr(leaving_module, "SERVE_WITHIN_S", 0.01)
    assert leaving(Endless(), static=True).calls == [("close", None)]


def test_a_consumer_after_a_fatal_error_is_closed_all_the_same() -> None:
    class Fenced(ScriptedConsumer):
        def unsubscribe(self) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL, "another member has this instance id"))

    assert leaving(Fenced()).calls == [("close", None)]


def test_a_consumer_is_closed_when_a_rebalance_fails_meanwhile() -> None:
    class Failing(ScriptedConsumer):
        def consume(self, count: int, timeout: float) -> list[ScriptedMessage]:
            raise ValueError("on_revoke failed")

    consumer = Failing()
    with pytest.raises(ValueError, match="on_revoke failed"):
        leaving(consumer)
    assert consumer.calls[-1] == ("close", None)
