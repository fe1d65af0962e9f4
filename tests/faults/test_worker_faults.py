"""Workers and brokers are killed, suspended and restarted while jobs arrive: every guarantee holds over the history."""

import random
import threading
import time
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
from tests.support.guarantees import (
    NoJobLost,
    OneOutcomePerAttempt,
    figures,
)
from tests.support.running_worker import RunningWorker
from tests.support.scenarios import Scenario, assert_held, lengths


@pytest.fixture
def fleet(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Fleet:
    return Fleet(kafka.bootstrap, topics, tmp_path, seed=4)


@pytest.fixture
def clustered(kafka_cluster: ApacheKafka, topic_prefix: str, tmp_path: Path) -> Fleet:
    topics = TopicCatalogue(topic_prefix, partitions=6)
    apply_topics(KafkaConnection(kafka_cluster.bootstrap), topics, 3)
    return Fleet(kafka_cluster.bootstrap, topics, tmp_path, seed=9)


@lengths("rounds", short=1, full=5)
def test_a_rolling_restart_half_way_loses_nothing(fleet: Fleet, scenario: Scenario, rounds: int) -> None:
    with fleet:
        fleet.start(3)
        fleet.feed()
        fleet.await_everyone()
        for turn in range(rounds):
            for worker in fleet.workers:
                assert worker.stop(30) == 0, worker.tail
                worker.start()
                fleet.await_ends(100)
            scenario.progress(f"round {turn + 1} of {rounds}")
        history = fleet.history()
        assert_held(scenario, history)
        assert figures(history)["executions"] == len(history.accepted), "an orderly stop lets what runs finish"


@lengths("kills", short=3, full=20)
def test_kill_9_of_one_of_three_workers_again_and_again_loses_nothing(
    fleet: Fleet, scenario: Scenario, kills: int
) -> None:
    with fleet:
        fleet.start(3)
        fleet.feed()
        fleet.await_everyone()
        for kill in range(kills):
            victim = fleet.workers[kill % 3]
            victim.kill()
            fleet.pause(0.1, 1.0)
            victim.start()
            fleet.pause(0.5, 3.0)
            scenario.progress(f"kill {kill + 1} of {kills}")
        assert_held(scenario, fleet.history())


@lengths("kills", short=2, full=12)
def test_kill_9_of_a_child_leaves_its_siblings_alone_and_loses_nothing(
    fleet: Fleet, scenario: Scenario, kills: int
) -> None:
    with fleet:
        fleet.start(1, "--processes", "2")
        fleet.feed()
        fleet.await_ends(100)
        for kill in range(kills):
            children = psutil.Process(fleet.workers[0].pid).children()
            fleet.dice.choice(children).kill()
            fleet.pause(1.0, 3.0)
            scenario.progress(f"kill {kill + 1} of {kills}")
        assert fleet.workers[0].is_alive()
        assert_held(scenario, fleet.history())
        assert fleet.workers[0].stop(40) == 0, fleet.workers[0].tail


@lengths("rounds", short=1, full=4)
def test_kill_9_of_a_broker_and_then_of_the_transaction_coordinator_loses_nothing(
    clustered: Fleet, kafka_cluster: ApacheKafka, scenario: Scenario, rounds: int
) -> None:
    with clustered as fleet:
        fleet.start(2)
        fleet.feed(60)
        fleet.await_everyone()
        for turn in range(rounds):
            coordinator = transaction_coordinator(kafka_cluster, f"{fleet.topics.prefix}worker-{fleet.topics.prefix}w0")
            for number in (1 + coordinator % 3, coordinator):
                kafka_cluster.node(number).kill()
                fleet.pause(3.0, 5.0)
                kafka_cluster.node(number).start()
                fleet.await_ends(60)
            scenario.progress(f"round {turn + 1} of {rounds}")
        assert_held(scenario, fleet.history())


@lengths("suspensions", short=1, full=2)
def test_a_worker_suspended_past_its_session_is_fenced_and_runs_jobs_again_when_it_resumes(
    fleet: Fleet, scenario: Scenario, suspensions: int
) -> None:
    with fleet:
        fleet.start(2)
        fleet.feed(60)
        fleet.await_everyone()
        for number in range(suspensions):
            worker = fleet.workers[number]
            worker.suspend()
            fleet.pause(9.0, 10.0)
            worker.resume()
            fleet.await_line(worker, '"event": "partitions_lost"')
            fleet.await_everyone()
            assert worker.is_alive()
            scenario.progress(f"suspension {number + 1} of {suspensions}")
        assert_held(scenario, fleet.history())


@lengths("rounds", short=1, full=5)
def test_handlers_that_hang_eat_memory_and_exit_cost_only_themselves(
    fleet: Fleet, scenario: Scenario, rounds: int
) -> None:
    kinds = ("never-returns", "eats-memory", "exits", "never-returns")
    with fleet:
        fleet.start(1, "--processes", "1", handlers="tests.support.misbehaving")
        good, bad = [], []
        for turn in range(rounds):
            good += fleet.submit([NewJob("well-behaved", {"seconds": 0.01}) for _ in range(200)])
            bad += fleet.submit([NewJob(kind, {}) for kind in kinds])
            good += fleet.submit([NewJob("well-behaved", {"seconds": 0.01}) for _ in range(200)])
            fleet.await_ends(400)
            scenario.progress(f"round {turn + 1} of {rounds}")
        history = fleet.history()
        assert_held(scenario, history, [NoJobLost(), OneOutcomePerAttempt()])
        ended = {event.job_id: event for event in history.outcomes}
        assert {ended[job_id].kind for job_id in good} == {EventKind.SUCCEEDED}
        errors = ["TimeoutError", "MemoryExceeded", "HandlerCrashed", "TimeoutError"]
        assert [ended[job_id].error_type for job_id in bad] == errors * rounds
        assert all("exited with code 7" in ended[job_id].error_message for job_id in bad[2::4])


@lengths("restarts", short=2, full=16)
def test_a_rebalance_storm_loses_nothing(
    kafka: Broker, topic_prefix: str, tmp_path: Path, scenario: Scenario, restarts: int
) -> None:
    """8 workers on 32 partitions, each restarted again and again at random moments."""
    topics = TopicCatalogue(topic_prefix, lanes=("default",), partitions=32)
    apply_topics(KafkaConnection(kafka.bootstrap), topics)
    with Fleet(kafka.bootstrap, topics, tmp_path, seed=21) as fleet:

        def restart_again_and_again(number: int) -> None:
            dice = random.Random(number)
            for turn in range(restarts + 1):
                worker = RunningWorker(kafka.bootstrap, topics, handlers, f"{topic_prefix}{number}", revoke_grace_s=1.0)
                worker.start()
                time.sleep(dice.uniform(0.2, 2.0))
                worker.stop()
                scenario.progress(f"worker {number}: restart {turn} of {restarts}")

        storm = [threading.Thread(target=restart_again_and_again, args=(number,)) for number in range(8)]
        for thread in storm:
            thread.start()
        while any(thread.is_alive() for thread in storm):
            fleet.submit([NewJob("sleep", {"seconds": 0.01}, tenant=f"t{number % 3}") for number in range(20)])
            fleet.pause(0.1, 0.4)
        with RunningWorker(kafka.bootstrap, topics, handlers, f"{topic_prefix}last"):
            assert_held(scenario, fleet.history(), [NoJobLost(), OneOutcomePerAttempt()])


def transaction_coordinator(cluster: ApacheKafka, transactional_id: str) -> int:
    """The node that coordinates a transactional id: the leader of the partition that the id hashes to."""
    admin = AdminClient(KafkaConnection(cluster.bootstrap).client())
    partitions = admin.list_topics("__transaction_state", 10).topics["__transaction_state"].partitions
    code = 0
    for letter in transactional_id:
        code = (31 * code + ord(letter)) & 0xFFFFFFFF
    return int(partitions[(code & 0x7FFFFFFF) % len(partitions)].leader)
