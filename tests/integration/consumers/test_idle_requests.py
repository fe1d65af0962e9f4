"""What an idle worker and an idle sink ask of Kafka: one fetch of each consumer for each `fetch_wait_ms`, counted by
the client."""

import json
from collections import defaultdict
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from millstream.consumers.sink import Sink, SinkConfig
from millstream.consumers.sink import sink as sink_module
from millstream.consumers.worker import JobTypes, session_builder
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.job_events import CODEC
from tests.support.running_sink import running
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until

WAIT_MS = 1000
COUNTED_S = 3.0
"""For how long fetches are counted at least, by the clock of the client."""


class Fetches:
    """The fetches of consumers, as their statistics count them."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)

    def note(self, name: str, text: str) -> None:
        """Take the statistics of one consumer. What it does until its first fetches have returned is not counted."""
        found: dict[str, Any] = json.loads(text)
        count = sum(broker["req"].get("Fetch", 0) for broker in found["brokers"].values())
        if count > 2:
            self._counts[name].append((found["ts"] / 1e6, count))

    def per_wait(self) -> dict[str, float]:
        """How many fetches each made in the time that one may take."""
        return {
            name: (counts[-1][1] - counts[0][1]) / ((counts[-1][0] - counts[0][0]) / (WAIT_MS / 1000))
            for name, counts in self._counts.items()
            if counts[-1][0] - counts[0][0] >= COUNTED_S
        }


def test_an_idle_worker_makes_one_fetch_a_wait_with_each_of_its_consumers(
    kafka: Broker, topics: TopicCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches()
    monkeypatch.setattr(session_builder, "STATISTICS_INTERVAL_MS", 500)
    monkeypatch.setattr(WorkerMetrics, "read_statistics", lambda _, name, text, assignments: fetches.note(name, text))
    with RunningWorker(kafka.bootstrap, topics, JobTypes(), fetch_wait_ms=WAIT_MS):
        until(lambda: len(fetches.per_wait()) == len(topics.lanes) + 1)
    assert max(fetches.per_wait().values()) <= 1.5, fetches.per_wait()


def test_an_idle_sink_makes_one_fetch_a_wait(
    kafka: Broker, topics: TopicCatalogue, clickhouse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches()
    monkeypatch.setattr(sink_module, "BROKERS_INTERVAL_MS", 500)
    monkeypatch.setattr(Sink, "_on_statistics", lambda _, text: fetches.note("events", text))
    config = SinkConfig(group=topics.prefix, fetch_wait_ms=WAIT_MS)
    with running(Sink(KafkaConnection(kafka.bootstrap), topics, clickhouse, CODEC, config)):
        until(lambda: len(fetches.per_wait()) == 1)
    assert fetches.per_wait()["events"] <= 1.5, fetches.per_wait()
