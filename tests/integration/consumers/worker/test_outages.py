"""What a worker does while Kafka or the Schema Registry is away, and with requests that fit nowhere."""

import asyncio
import os
import time
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from millstream.consumers.worker import Drained, JobTypes
from millstream.local.broker import ApacheKafka, Broker
from millstream.local.ports import free_port
from millstream.producers import JobClient, NewJob
from millstream.schemas import (
    Codec,
    DeadLetter,
    DeadReason,
    EventKind,
    JobRequest,
    KafkaConnection,
    PinnedRegistry,
    RegistryUnavailable,
    TopicCatalogue,
)
from millstream.topics import apply_topics
from tests.support.brokers import set_largest_record
from tests.support.eventlog import EventLog, TopicReader
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until

OTHER_ID = 77


class Registry(PinnedRegistry):
    """Requests under a second id, about which it says nothing the first times that it is asked."""

    def __init__(self, away_times: int) -> None:
        self.away_times = away_times

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        if schema_id != OTHER_ID:
            return super().schema_of(schema_id)
        if self.away_times > 0:
            self.away_times -= 1
            raise RegistryUnavailable("no answer")
        return super().schema_of(self.id_of("JobRequest"))


def handlers() -> JobTypes:
    jobs = JobTypes()

    @jobs.job("ok")
    async def ok(payload: dict[str, Any]) -> None: ...

    @jobs.job("fails")
    async def fails(payload: dict[str, Any]) -> None:
        raise ConnectionError("try again")

    return jobs


def test_a_request_is_not_given_up_while_the_registry_is_away(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    request = JobRequest(tenant="acme", job_type="ok", payload=b"{}")
    value = b"\0" + OTHER_ID.to_bytes(4, "big") + Codec().encode(request)[5:]
    producer = Producer(KafkaConnection(kafka.bootstrap).producer())
    producer.produce(topics.lane("default"), value, request.job_id.encode(), partition=0)
    producer.flush()
    registry = Registry(away_times=3)
    with RunningWorker(kafka.bootstrap, topics, handlers(), codec=Codec(registry)):
        ids = client.submit_many([NewJob("ok", {"number": n}) for n in range(100)])
        log.until_finished([*ids, request.job_id])
    log.read(0.5)
    assert registry.away_times == 0
    assert set(log.outcomes.values()) == {1}
    dead = TopicReader(kafka.bootstrap, topics.dead)
    dead.read(1.0)
    assert dead.values == []
    dead.close()


def test_a_worker_that_waits_for_kafka_stops_on_a_signal() -> None:
    running = RunningWorker(f"127.0.0.1:{free_port()}", TopicCatalogue("nowhere."), handlers())
    running.start()
    time.sleep(1)
    assert running.stop() is Drained.CLEAN


def test_another_attempt_that_fits_nowhere_is_the_end_of_its_job_with_its_cause(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    padding = os.urandom(20_000).hex()
    job_id = client.submit("fails", {"padding": padding}, max_attempts=3)
    set_largest_record(kafka.bootstrap, topics.lane("default"), 4_000)
    # The broker takes a moment to refuse records.
    time.sleep(2)
    with RunningWorker(kafka.bootstrap, topics, handlers()):
        dead = TopicReader(kafka.bootstrap, topics.dead)
        dead.until(lambda: len(dead.values) == 1)
        others = client.submit_many([NewJob("ok", {"number": n}) for n in range(20)])
        log.until_finished(others)
    (letter,) = dead.decoded(DeadLetter)
    assert (letter.job_id, letter.reason) == (job_id, DeadReason.TOO_LARGE)
    assert topics.lane("default") in letter.error_message
    log.until_finished([job_id])
    log.read(0.5)
    reported = [(event.kind, event.attempt, event.final) for event in log.events if event.job_id == job_id]
    assert reported[-4:] == [
        (EventKind.FAILED, 1, False),
        (EventKind.RETRY_SCHEDULED, 1, False),
        (EventKind.FAILED, 2, True),
        (EventKind.DEAD_LETTERED, 2, False),
    ]
    dead.close()


def test_a_missing_topic_costs_the_jobs_that_need_it_their_outcomes_and_no_others(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    connection = KafkaConnection(kafka.bootstrap)
    with RunningWorker(kafka.bootstrap, topics, handlers()) as running:
        admin = AdminClient(connection.client())
        admin.delete_topics([topics.dead])[topics.dead].result(10)
        bad = client.submit("fails", {})
        others = client.submit_many([NewJob("ok", {"number": n}) for n in range(50)])
        log.until_finished(others)
        writing = running.worker.status.writing
        until(lambda: writing.parked == 1)
        assert list(writing.unwritable) == [topics.dead]
        assert bad not in log.finished
        apply_topics(connection, topics)
        log.until_finished([bad])
        until(lambda: writing.problems() == [])
    assert running.drained is Drained.CLEAN
    log.read(0.5)
    assert set(log.started.values()) == {1}, "nothing ran again meanwhile"
    assert set(log.outcomes.values()) == {1}


def test_a_broker_that_stands_still_beyond_the_session_makes_no_job_run_again(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    if not isinstance(kafka, ApacheKafka):
        pytest.skip("needs a broker that can be suspended")
    jobs = JobTypes()

    @jobs.job("waits")
    async def waits(payload: dict[str, Any]) -> None:
        await asyncio.sleep(payload["seconds"])

    with RunningWorker(kafka.bootstrap, topics, jobs, concurrency=20) as running:
        ids = client.submit_many([NewJob("waits", {"seconds": 10 if n < 10 else 0.1}) for n in range(200)])
        while len(log.started) < 30:
            log.read(0.1)
        kafka.node(1).suspend()
        time.sleep(8)
        kafka.node(1).resume()
        log.until_finished(ids)
    assert running.worker.status.restarts == 0
    log.read(0.5)
    assert {each: count for each, count in log.started.items() if count > 1} == {}
    assert set(log.outcomes.values()) == {1}
