"""Workers and brokers die, stall and come back while jobs keep coming: every guarantee holds over the whole history."""

import os
import random
import threading
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from millstream.local.broker import ApacheKafka, Broker
from millstream.producers import NewJob
from millstream.schemas import EventKind, KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.integration.consumers.worker.handlers import jobs as handlers
from tests.support.fleet import Fleet
from tests.support.guarantees import Guarantee, NoJobLost, NoStarvation, OneOutcomePerAttempt, OrderPerKey, report
from tests.support.running_worker import RunningWorker

ALWAYS: list[Guarantee] = [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey(), NoStarvation(timedelta(seconds=45))]
STORM_RESTARTS = int(os.environ.get("MILLSTREAM_TEST_STORM_RESTARTS", "16"))


@pytest.fixture
def fleet(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Fleet:
    return Fleet(kafka.bootstrap, topics, tmp_path, seed=4)


@pytest.fixture
def clustered(kafka_cluster: ApacheKafka, topic_prefix: str, tmp_path: Path) -> Fleet:
    topics = TopicCatalogue(topic_prefix, partitions=6)
    apply_topics(KafkaConnection(kafka_cluster.bootstrap), topics, 3)
    return Fleet(kafka_cluster.bootstrap, topics, tmp_path, seed=9)


def test_a_rolling_restart_half_way_loses_nothing(fleet: Fleet) -> None:
    with fleet:
        fleet.start(3)
        fleet.feed()
        fleet.await_everyone()
        for worker in fleet.workers:
            assert worker.stop(30) == 0, worker.tail
            worker.start()
            fleet.await_ends(100)
        history = fleet.history()
        assert report(history, ALWAYS) == []
        starts = sum(event.kind is EventKind.STARTED for event in history.events)
        assert starts == len(history.accepted), "an orderly stop lets what runs finish"


def test_kill_9_of_one_of_three_workers_again_and_again_loses_nothing(fleet: Fleet) -> None:
    with fleet:
        fleet.start(3)
        fleet.feed()
        fleet.await_everyone()
        for kill in range(5):
            victim = fleet.workers[kill % 3]
            victim.kill()
            fleet.pause(0.1, 1.0)
            victim.start()
            fleet.pause(0.5, 3.0)
        assert report(fleet.history(), ALWAYS) == []


def test_kill_9_of_a_child_leaves_its_siblings_alone_and_loses_nothing(fleet: Fleet) -> None:
    with fleet:
        fleet.start(1, "--processes", "2")
        fleet.feed()
        fleet.await_ends(100)
        for _ in range(3):
            children = psutil.Process(fleet.workers[0].pid).children()
            fleet.dice.choice(children).kill()
            fleet.pause(1.0, 3.0)
        assert fleet.workers[0].is_alive()
        history = fleet.history()
        assert report(history, ALWAYS) == []
        assert fleet.workers[0].stop(40) == 0, fleet.workers[0].tail


def test_kill_9_of_a_broker_and_then_of_the_transaction_coordinator_loses_nothing(
    clustered: Fleet, kafka_cluster: ApacheKafka
) -> None:
    with clustered as fleet:
        fleet.start(2)
        fleet.feed(60)
        fleet.await_everyone()
        coordinator = transaction_coordinator(kafka_cluster, f"{fleet.topics.prefix}worker-{fleet.topics.prefix}w0")
        for number in (1 + coordinator % 3, coordinator):
            kafka_cluster.node(number).kill()
            fleet.pause(3.0, 5.0)
            kafka_cluster.node(number).start()
            fleet.await_ends(60)
        assert report(fleet.history(), ALWAYS) == []


def test_a_worker_stopped_past_its_session_is_fenced_and_starts_over(fleet: Fleet) -> None:
    with fleet:
        fleet.start(2)
        fleet.feed(60)
        fleet.await_everyone()
        fleet.workers[0].suspend()
        fleet.pause(9.0, 10.0)
        fleet.workers[0].resume()
        # It finds out with its next transaction, when it has partitions again.
        deadline = time.monotonic() + 60
        while "starting over" not in fleet.workers[0].tail:
            assert time.monotonic() < deadline, fleet.workers[0].tail
            fleet.await_ends(10)
        assert fleet.workers[0].is_alive()
        assert report(fleet.history(), ALWAYS) == []


def test_handlers_that_hang_eat_memory_and_exit_cost_only_themselves(fleet: Fleet) -> None:
    with fleet:
        fleet.start(1, "--processes", "1", handlers="tests.support.misbehaving")
        good = fleet.submit([NewJob("well-behaved", {"seconds": 0.01}) for _ in range(200)])
        bad = fleet.submit([NewJob(kind, {}) for kind in ("never-returns", "eats-memory", "exits", "never-returns")])
        good += fleet.submit([NewJob("well-behaved", {"seconds": 0.01}) for _ in range(200)])
        history = fleet.history()
        assert report(history, [NoJobLost(), OneOutcomePerAttempt()]) == []
        ended = {event.job_id: event for event in history.outcomes}
        assert {ended[job_id].kind for job_id in good} == {EventKind.SUCCEEDED}
        assert [ended[job_id].error_type for job_id in bad] == [
            "TimeoutError",
            "MemoryExceeded",
            "HandlerCrashed",
            "TimeoutError",
        ]
        assert "exited with code 7" in ended[bad[2]].error_message


def test_a_rebalance_storm_loses_nothing(kafka: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """8 workers on 32 partitions, each restarted again and again at random moments."""
    topics = TopicCatalogue(topic_prefix, lanes=("default",), partitions=32)
    apply_topics(KafkaConnection(kafka.bootstrap), topics)
    with Fleet(kafka.bootstrap, topics, tmp_path, seed=21) as fleet:

        def restart_again_and_again(number: int) -> None:
            dice = random.Random(number)
            for _ in range(STORM_RESTARTS + 1):
                worker = RunningWorker(kafka.bootstrap, topics, handlers, f"{topic_prefix}{number}", revoke_grace_s=1.0)
                worker.start()
                time.sleep(dice.uniform(0.2, 2.0))
                worker.stop()

        storm = [threading.Thread(target=restart_again_and_again, args=(number,)) for number in range(8)]
        for thread in storm:
            thread.start()
        while any(thread.is_alive() for thread in storm):
            fleet.submit([NewJob("sleep", {"seconds": 0.01}, tenant=f"t{number % 3}") for number in range(20)])
            fleet.pause(0.1, 0.4)
        with RunningWorker(kafka.bootstrap, topics, handlers, f"{topic_prefix}last"):
            assert report(fleet.history(), [NoJobLost(), OneOutcomePerAttempt()]) == []


def transaction_coordinator(cluster: ApacheKafka, transactional_id: str) -> int:
    """The node that coordinates a transactional id: the leader of the partition that the id hashes to."""
    admin = AdminClient(KafkaConnection(cluster.bootstrap).client())
    partitions = admin.list_topics("__transaction_state", 10).topics["__transaction_state"].partitions
    code = 0
    for letter in transactional_id:
        code = (31 * code + ord(letter)) & 0xFFFFFFFF
    return int(partitions[(code & 0x7FFFFFFF) % len(partitions)].leader)
