"""Where to start a partition that holds records and has no commit.

A group that starts for the first time reads everything. A group that was renamed, or whose commits expired while no
worker ran, must not: all jobs that the topic retains would run again. The two are told apart by what has happened to
the oldest jobs of the partition: if one of them has its outcome, jobs of this log have run before.
"""

import time

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from millstream.consumers.kafka.positions import Position
from millstream.consumers.worker.config import WithoutCommit
from millstream.schemas import (
    OUTCOMES,
    Codec,
    DecodeError,
    JobEvent,
    KafkaConnection,
    RegistryUnavailable,
    RequestReader,
    TopicCatalogue,
)
from millstream.schemas.denial import DENIED, named

log = structlog.get_logger(__name__)

JOBS = 20
"""The oldest jobs of a partition that are looked at."""

SEARCH_S = 5.0


class CommitMissing(RuntimeError):
    """Jobs of a partition have run, and the group has no commit that says which: starting would run them again."""


class FirstStart:
    """Decides for partitions without a commit. `policy`: what to do when jobs have run before."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        codec: Codec,
        requests: RequestReader,
        policy: WithoutCommit,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._codec = codec
        self._requests = requests
        self._policy = policy
        self._first: set[str] = set()

    def offset(self, group: str, position: Position) -> int:
        """The offset to start at. Blocks while it looks for outcomes, at most about ten seconds. Raises
        `CommitMissing`, and `KafkaException` when the user has no right to read the outcomes."""
        where = f"{position.topic}[{position.partition}]"
        assert position.log is not None
        low, high = position.log
        job_id = self._finished_job(position) if self._must_look(position) else ""
        if job_id and self._policy == "refuse":
            raise CommitMissing(
                f"group {group} has no commit for {where}, but jobs of it have run, such as {job_id}: either the "
                "group was renamed (worker.group), or its commits expired while no worker ran "
                "(offsets.retention.minutes). Set MILLSTREAM_WORKER__WITHOUT_COMMIT=latest to run only new jobs, or "
                "=earliest to run all that the topic holds again"
            )
        self._first.add(position.topic)
        if job_id:
            log.warning("started_without_commit", group=group, partition=where, offset=high, finished_job=job_id)
            return high
        log.info("started_without_commit", group=group, partition=where, offset=low, policy=self._policy)
        return low

    def _must_look(self, position: Position) -> bool:
        """Whether it matters if jobs have run. To refuse, one partition stands for the others of its topic, because
        commits are lost by group. To start at the end, each stands for itself: one that was added to the topic since
        holds jobs that nobody has run."""
        return self._policy == "latest" or (self._policy == "refuse" and position.topic not in self._first)

    def _finished_job(self, position: Position) -> str:
        """A job among the oldest ones of the partition that has its final outcome; empty when none was found."""
        oldest, since_ms = self._oldest_jobs(position)
        return self._first_finished(oldest, since_ms) if oldest else ""

    def _oldest_jobs(self, position: Position) -> tuple[set[bytes], int]:
        """Ids of the oldest jobs of the partition, and when the first of them was written."""
        consumer = Consumer(self._connection.consumer("first-start", enable_partition_eof=True))
        found: set[bytes] = set()
        since_ms = 0
        deadline = time.monotonic() + SEARCH_S
        try:
            consumer.assign([TopicPartition(position.topic, position.partition, OFFSET_BEGINNING)])
            while len(found) < JOBS and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is None:
                    continue
                if (problem := message.error()) is not None:
                    if _needs_no_group(problem):
                        continue
                    # The end of the partition.
                    break
                try:
                    found.add(self._requests.read(message.value()).key)
                except (DecodeError, RegistryUnavailable):
                    continue
                since_ms = since_ms or message.timestamp()[1]
        finally:
            consumer.close()
        return found, since_ms

    def _first_finished(self, job_ids: set[bytes], since_ms: int) -> str:
        events = self._topics.events
        consumer = Consumer(self._connection.consumer("first-start", enable_partition_eof=True))
        deadline = time.monotonic() + SEARCH_S
        try:
            known = consumer.list_topics(events, SEARCH_S).topics[events]
            if known.error is not None:
                raise KafkaException(known.error)
            partitions = known.partitions
            places = [TopicPartition(events, each, since_ms) for each in partitions]
            starts = consumer.offsets_for_times(places, SEARCH_S)
            consumer.assign([each for each in starts if each.error is None])
            ended: set[int] = set()
            while time.monotonic() < deadline and len(ended) < len(starts):
                for message in consumer.consume(10_000, 0.2):
                    if (problem := message.error()) is not None:
                        if _needs_no_group(problem):
                            continue
                        if problem.code() in DENIED:
                            raise KafkaException(problem)
                        ended.add(message.partition() or 0)
                    elif message.key() in job_ids and self._is_final(message.value()):
                        return (message.key() or b"").decode()
        except KafkaException as error:
            if error.args[0].code() in DENIED:
                raise named(error, self._connection.user, "Read", f"topic {events}") from error
            log.warning("outcomes_unreadable", topic=events, reason=error.args[0].str())
        finally:
            consumer.close()
        return ""

    def _is_final(self, value: bytes | None) -> bool:
        try:
            event = self._codec.decode(value, JobEvent)
        except (DecodeError, RegistryUnavailable):
            return False
        return event.final and event.kind in OUTCOMES


def _needs_no_group(error: KafkaError) -> bool:
    """Whether an error is of no account here: the client asks for its group in any case, and is no member of it."""
    return error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
