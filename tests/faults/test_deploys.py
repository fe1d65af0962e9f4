"""Deploys while keyed jobs of mixed length run: every service is replaced again and again, and the topics grow."""

import time
from collections import Counter
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from millstream.local.broker import Broker
from millstream.producers import NewJob
from millstream.schemas import EventKind, TopicCatalogue
from tests.support.derived import assert_derived
from tests.support.fleet import Fleet
from tests.support.guarantees import History, NoJobLost, OneOutcomePerAttempt, OrderPerKey
from tests.support.running_sink import sink_process
from tests.support.running_tracker import RunningTracker
from tests.support.scenarios import Scenario, assert_held, lengths

KEYS = 200
EVERY_S = 30.0


@pytest.fixture
def fleet(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Fleet:
    return Fleet(kafka.bootstrap, topics, tmp_path, seed=14)


def started_twice(history: History) -> dict[str, list[str]]:
    """The jobs with more than one execution, each with the workers that started it."""
    starts = [event for event in history.events if event.kind is EventKind.STARTED]
    counts = Counter(event.job_id for event in starts)
    return {
        job_id: [f"{event.worker_id} {event.occurred_at:%H:%M:%S}" for event in starts if event.job_id == job_id]
        for job_id, count in counts.items()
        if count > 1
    }


@lengths("deploys", short=1, full=20)
def test_deploys_and_growth_lose_no_job_restart_none_overlap_no_key_and_leave_every_count_right(
    fleet: Fleet,
    kafka: Broker,
    topics: TopicCatalogue,
    clickhouse: Client,
    clickhouse_url: str,
    tmp_path: Path,
    scenario: Scenario,
    deploys: int,
) -> None:
    def keyed(number: int) -> NewJob:
        dice = fleet.dice
        seconds = dice.choice((0.005, 0.005, 0.02, 0.02, 0.1, 0.1, 0.5, 2.0, 6.0)) if dice.random() < 0.2 else 0.01
        return NewJob("demo.sleep", {"seconds": seconds}, ordering_key=f"key-{dice.randrange(KEYS)}")

    database = str(clickhouse.database)
    sink = sink_process(kafka.bootstrap, topics, clickhouse_url, tmp_path, MILLSTREAM_CLICKHOUSE__DATABASE=database)
    with fleet, RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker, sink:
        fleet.start(3)
        fleet.feed(50, keyed)
        fleet.await_everyone()
        for deploy in range(deploys):
            began = time.monotonic()
            for worker in fleet.workers:
                assert worker.stop(60) == 0, worker.tail
                worker.start()
                fleet.pause(2.0, 4.0)
            if deploy == deploys // 2:
                fleet.grow(8)
            for process in (tracker.process, sink):
                assert process.stop(60) == 0, process.tail
            tracker.start()
            sink.start()
            if deploy + 1 < deploys:
                fleet.pause(1.0, max(1.0, EVERY_S - (time.monotonic() - began)))
            scenario.progress(f"deploy {deploy + 1} of {deploys}")
        history = fleet.history()
        again = started_twice(history)
        derived = assert_derived(history, tracker, clickhouse)
        assert_held(
            scenario,
            history,
            [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey()],
            started_twice=len(again),
            **derived,
        )
        assert len(again) <= len(history.accepted) / 1000, again
