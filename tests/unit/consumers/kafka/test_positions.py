"""What the positions of a group's partitions tell about its brokers."""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from millstream.consumers.kafka import positions
from millstream.consumers.kafka.offset_ledger import METADATA_LIMIT
from millstream.consumers.kafka.positions import METADATA_SETTING, Positions
from millstream.schemas import KafkaConnection


def limit_of(monkeypatch: pytest.MonkeyPatch, answer: Mapping[str, Any] | KafkaException) -> tuple[int, list[str]]:
    """The most bytes of metadata with a broker that answers so, and the events of the log."""

    class Admin:
        def __init__(self, _: object) -> None: ...

        def list_topics(self, timeout: float) -> SimpleNamespace:
            return SimpleNamespace(brokers={1: None})

        def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Future[Any]]:
            settings: Future[Any] = Future()
            settings.set_exception(answer) if isinstance(answer, Exception) else settings.set_result(answer)
            return {resources[0]: settings}

    monkeypatch.setattr(positions, "AdminClient", Admin)
    with capture_logs() as said:
        asked = Positions(KafkaConnection("nowhere:1"), cast(Any, None), cast(Any, None))
        found = {asked.metadata_limit for _ in range(3)}
    return found.pop(), [each["event"] for each in said]


def test_a_broker_that_accepts_little_metadata_is_noticed_and_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {METADATA_SETTING: SimpleNamespace(value="512")}
    assert limit_of(monkeypatch, answer) == (511, ["commit_metadata_limit_low"])


def test_a_broker_that_accepts_more_is_not_sent_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_of(monkeypatch, {METADATA_SETTING: SimpleNamespace(value="100000")}) == (METADATA_LIMIT, [])


def test_the_default_is_taken_where_the_broker_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
    assert limit_of(monkeypatch, refused) == (METADATA_LIMIT, ["broker_settings_unavailable"])
    assert limit_of(monkeypatch, {}) == (METADATA_LIMIT, ["broker_settings_unavailable"])
