"""A worker that fails with a transaction open holds back the readers of events only until another worker fences it."""

from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaException, Producer

from millstream.local.broker import Broker
from millstream.producers import JobClient
from millstream.schemas import Codec, Heartbeat, JobEvent, KafkaConnection, TopicCatalogue, WorkerState
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog, TopicReader
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until

GHOST = "00000000-0000-7000-8000-000000000000"
"""The job of the event that was never committed."""


class FailedWorker:
    """A worker as the others see it: one heartbeat, an open transaction, and nothing after that."""

    def __init__(self, kafka: Broker, topics: TopicCatalogue) -> None:
        self._topics = topics
        self._heartbeat = Heartbeat(worker_id="failed", transactional_id=f"{topics.prefix}worker-failed")
        self._connection = KafkaConnection(kafka.bootstrap)
        self._codec = Codec()
        self._heartbeats = Producer(self._connection.producer())
        self.producer = Producer(
            self._connection.producer(transactional_id=self._heartbeat.transactional_id, transaction_timeout_ms=300_000)
        )
        self.producer.init_transactions(30)
        self.producer.begin_transaction()
        event = JobEvent.model_validate(
            {
                "job_id": GHOST,
                "tenant": "t",
                "job_type": "t",
                "lane": "default",
                "submitted_at": datetime.now(UTC),
                "kind": "started",
            }
        )
        for partition in range(4):
            self.producer.produce(topics.events, self._codec.encode(event), GHOST.encode(), partition)
        self.producer.flush(30)

    def send_heartbeat(self, state: WorkerState = WorkerState.RUNNING) -> None:
        heartbeat = self._heartbeat.model_copy(update={"state": state})
        self._heartbeats.produce(self._topics.heartbeats, self._codec.encode(heartbeat), b"failed")
        assert self._heartbeats.flush(30) == 0


def test_a_failed_workers_transaction_is_aborted_and_it_can_commit_nothing_any_more(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    failed = FailedWorker(kafka, topics)
    with RunningWorker(kafka.bootstrap, topics, jobs) as running:
        failed.send_heartbeat()
        job_id = client.submit("sleep", {})
        until(lambda: running.worker.metrics.fenced == 1)
        log.until_finished([job_id])
    with pytest.raises(KafkaException):
        failed.producer.commit_transaction(30)
    assert not log.kinds_of(GHOST)


def test_a_worker_that_reported_its_stop_is_not_fenced(kafka: Broker, topics: TopicCatalogue) -> None:
    failed = FailedWorker(kafka, topics)
    with RunningWorker(kafka.bootstrap, topics, jobs) as running:
        failed.send_heartbeat()
        failed.send_heartbeat(WorkerState.STOPPED)
        worker = running.worker
        # More heartbeats of its own than a failed worker may miss.
        until(lambda: heartbeats_of(kafka, topics, worker.config.worker_id) > 2 + worker.config.heartbeat_misses)
        assert worker.metrics.fenced == 0
    failed.producer.abort_transaction(30)
    failed.producer.close()


def heartbeats_of(kafka: Broker, topics: TopicCatalogue, worker_id: str) -> int:
    reader = TopicReader(kafka.bootstrap, topics.heartbeats)
    reader.read(1)
    reader.close()
    return reader.keys.count(worker_id.encode())
