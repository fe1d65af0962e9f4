"""A right that Kafka refuses a consumer is told by name, told again, and forgotten when it is back."""

from concurrent.futures import Future
from typing import Any, cast

import pytest
import structlog
from confluent_kafka import KafkaError

from millstream.consumers.kafka.denied_rights import ASK_INTERVAL_S, TELL_INTERVAL_S, DeniedRights
from millstream.consumers.kafka.topic_access import TopicAccess, Unusable
from millstream.schemas import KafkaConnection

TOPIC = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
GROUP = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)


class ScriptedAccess:
    """Answers at once with what it is told to."""

    def __init__(self) -> None:
        self.refused: Unusable = {}
        self.asked: list[list[str]] = []

    def ask(self, topics: Any, operation: Any) -> "Future[Unusable]":
        self.asked.append(sorted(topics))
        answer: Future[Unusable] = Future()
        answer.set_result(self.refused)
        return answer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def access() -> ScriptedAccess:
    return ScriptedAccess()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def denied(access: ScriptedAccess, clock: Clock) -> DeniedRights:
    return DeniedRights(KafkaConnection("b:1", {"sasl.username": "w"}), cast(TopicAccess, access), clock)


def test_user_operation_and_resource_are_named_once_a_minute(denied: DeniedRights, clock: Clock) -> None:
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            assert denied.note(TOPIC, "jobs.high", "workers.high")
        clock.now += TELL_INTERVAL_S
        denied.run_once()
    assert [(each["event"], each["user"], each["operation"], each["resource"]) for each in lines] == [
        ("right_missing", "w", "Read", "topic jobs.high")
    ] * 2
    assert denied.problems == ["user 'w' has no right to Read topic jobs.high"]


def test_a_topic_is_asked_about_until_the_right_is_back(
    denied: DeniedRights, access: ScriptedAccess, clock: Clock
) -> None:
    access.refused = {"jobs.high": "no right"}
    denied.note(TOPIC, "jobs.high", "")
    for _ in range(3):
        denied.run_once()
        assert denied.refuses_topic("jobs.high")
        clock.now += ASK_INTERVAL_S
    # No broker answers: that is no answer about the right.
    access.refused = None
    denied.run_once()
    clock.now += ASK_INTERVAL_S
    denied.run_once()
    assert denied.refuses_topic("jobs.high")
    access.refused = {}
    clock.now += ASK_INTERVAL_S
    denied.run_once()
    denied.run_once()
    assert not denied.refuses_topic("jobs.high") and denied.problems == []


def test_a_group_is_refused_until_it_lets_its_member_in(denied: DeniedRights, access: ScriptedAccess) -> None:
    assert denied.note(GROUP, None, "workers.high")
    denied.run_once()
    assert denied.refuses_group("workers.high")
    denied.group_joined("workers.high")
    assert denied.problems == [] and access.asked == []


def test_a_reader_that_is_no_member_needs_no_right_to_its_group(denied: DeniedRights) -> None:
    assert denied.note(GROUP, None, "")
    assert denied.problems == []


def test_other_errors_are_left_to_the_caller(denied: DeniedRights) -> None:
    assert not denied.note(KafkaError(KafkaError._TRANSPORT), "jobs.high", "workers.high")
