"""A worker that fell silent with a transaction open holds up the readers of events only until another one fences it."""

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


class SilentWorker:
    """A worker as its peers see it: it beat once, has a transaction open, and is not heard of again."""

    def __init__(self, kafka: Broker, topics: TopicCatalogue) -> None:
        self._topics = topics
        self._told = Heartbeat(worker_id="silent", transactional_id=f"{topics.prefix}worker-silent")
        self._connection = KafkaConnection(kafka.bootstrap)
        self._codec = Codec()
        self._beats = Producer(self._connection.producer())
        self.producer = Producer(
            self._connection.producer(transactional_id=self._told.transactional_id, transaction_timeout_ms=300_000)
        )
        self.producer.init_transactions(30)
        self.producer.begin_transaction()
        told = JobEvent.model_validate(
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
            self.producer.produce(topics.events, self._codec.encode(told), GHOST.encode(), partition)
        self.producer.flush(30)

    def beat(self, state: WorkerState = WorkerState.RUNNING) -> None:
        beat = self._told.model_copy(update={"state": state})
        self._beats.produce(self._topics.heartbeats, self._codec.encode(beat), b"silent")
        assert self._beats.flush(30) == 0


def test_a_silent_workers_transaction_is_ended_and_it_can_commit_nothing_any_more(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    silent = SilentWorker(kafka, topics)
    with RunningWorker(kafka.bootstrap, topics, jobs) as running:
        silent.beat()
        job_id = client.submit("sleep", {})
        until(lambda: running.worker.metrics.fenced == 1)
        log.until_finished([job_id])
    with pytest.raises(KafkaException):
        silent.producer.commit_transaction(30)
    assert not log.kinds_of(GHOST)


def test_a_worker_that_said_it_stopped_is_not_missed(kafka: Broker, topics: TopicCatalogue) -> None:
    silent = SilentWorker(kafka, topics)
    with RunningWorker(kafka.bootstrap, topics, jobs) as running:
        silent.beat()
        silent.beat(WorkerState.STOPPED)
        worker = running.worker
        # More beats of its own than a silent worker is given.
        until(lambda: beats_of(kafka, topics, worker.config.worker_id) > 2 + worker.config.heartbeat_misses)
        assert worker.metrics.fenced == 0
    silent.producer.abort_transaction(30)
    silent.producer.close()


def beats_of(kafka: Broker, topics: TopicCatalogue, worker_id: str) -> int:
    reader = TopicReader(kafka.bootstrap, topics.heartbeats)
    reader.read(1)
    reader.close()
    return reader.keys.count(worker_id.encode())
