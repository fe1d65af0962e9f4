"""Which partitions a sink owns: from where it reads those that it is assigned, and how it gives them back.

A commit of [a, metadata "until b") says that the range [a, b) may or may not be in ClickHouse. Its new owner reads
exactly that range and inserts it again under the same token, before anything else of the partition.

A log that is not what it was (retention overtook the sink, or the topic was made again) is an event: the partition is
given up, Kafka is asked about topic and log, and it goes on from the right place (`start.py`).
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import wait as wait_for

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from millstream.consumers.kafka.membership import give_up
from millstream.consumers.kafka.resume import log_out_of_range
from millstream.consumers.sink.insert_cycle import InsertCycle
from millstream.consumers.sink.intent import Intent, MisplacedIntent, read_intent
from millstream.consumers.sink.partitions import SinkCommits, SinkPartition
from millstream.consumers.sink.start import SinkStart, first_start, next_start
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.topic_facts import AskIdentity, TopicFacts, ask

log = structlog.get_logger("millstream.sink")

RETRY_S = 0.5
ASK_INTERVAL_S = 1.0
"""How often Kafka is asked about a log that has changed; a topic may be away for long."""


class Ownership:
    """The rebalance callbacks of a sink. `partitions` is what it owns. Used by the poll thread only.

    `new_writer` is called with the topic's id before partitions are taken over.
    """

    def __init__(
        self,
        topic: str,
        commits: SinkCommits,
        inserts: InsertCycle,
        status: SinkStatus,
        stop: threading.Event,
        revoke_grace_s: float,
        identity: AskIdentity,
        new_writer: Callable[[str], None],
    ) -> None:
        self.partitions: dict[int, SinkPartition] = {}
        self._topic = topic
        self._commits = commits
        self._inserts = inserts
        self._status = status
        self._stop = stop
        self._revoke_grace_s = revoke_grace_s
        self._ask_identity = identity
        self._new_writer = new_writer
        self._topic_id = ""
        self._changed: dict[int, SinkPartition] = {}
        self._asked_at = float("-inf")

    def on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Start to read these from their commits. Raises `UnknownIntent`."""
        starts = []
        facts = self._facts(consumer, [each.partition for each in assigned]) if assigned else None
        for number, commit in facts.commits.items() if facts else ():
            assert facts is not None
            intent = self._intent(commit, facts.identity.cluster_id)
            committed = commit.offset if commit.offset >= 0 else None
            start = first_start(committed, intent, facts.logs.get(number))
            self._take(number, start)
            starts.append(TopicPartition(self._topic, number, start.offset))
            if start.surprise is not None:
                self._report(number, start, committed, committed, facts.logs[number])
            if start.buffer.exact_end is not None:
                self._status.repeated_batches += 1
                log.info("batch_repeated", partition=number, start=start.buffer.start, end=start.buffer.exact_end)
        consumer.incremental_assign(starts)
        # librdkafka keeps a partition paused over revocation and reassignment.
        consumer.resume(starts)
        self._status.assigned = True
        if assigned:
            log.info("partitions_assigned", topic=self._topic, partitions=sorted(each.partition for each in assigned))

    def on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Let inserts under way finish for a moment, acknowledge what is inserted, and give the partitions back."""
        leaving = [self.partitions[each.partition] for each in revoked if each.partition in self.partitions]
        self.release(leaving)
        self._drop(revoked)
        give_up(consumer, revoked)
        if revoked:
            log.info("partitions_revoked", topic=self._topic, partitions=sorted(each.partition for each in revoked))

    def on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Another member may own these by now, so nothing is committed for them."""
        for each in lost:
            if each.partition in self.partitions:
                self.partitions[each.partition].released.set()
        self._drop(lost)
        give_up(consumer, lost)
        self._status.assigned = False
        log.warning("partitions_lost", topic=self._topic, partitions=sorted(each.partition for each in lost))

    def release(self, partitions: Iterable[SinkPartition]) -> None:
        """Wait at most the grace period for inserts under way and acknowledge those that are in. The others stay
        announced, so the next owner repeats them."""
        leaving = list(partitions)
        wait_for([each.insert for each in leaving if each.insert is not None], self._revoke_grace_s)
        for partition in leaving:
            partition.released.set()
            if partition.insert is not None and partition.insert.done() and partition.insert.exception() is None:
                self._inserts.finish(partition, partition.insert.result())
        self._commits.acknowledge([each for each in leaving if each.insert is None])

    def log_changed(self, consumer: Consumer, number: int | None) -> None:
        """What the client wanted to read of a partition, or of all if None, is not there: read nothing of it until
        `go_on` knows why. Inserts under way go on."""
        for each in list(self.partitions) if number is None else [number]:
            if each in self.partitions and each not in self._changed:
                self._changed[each] = self.partitions[each]
                consumer.incremental_unassign([TopicPartition(self._topic, each)])

    def go_on(self, consumer: Consumer) -> None:
        """Read partitions again whose log has changed, once Kafka says what it holds now."""
        now = time.monotonic()
        if not self._changed or now - self._asked_at < ASK_INTERVAL_S:
            return
        self._asked_at = now
        before = self._topic_id
        try:
            facts = ask(consumer, self._topic, self._changed, self._ask_identity, logs=True)
        except KafkaException as error:
            self._status.failed("log_unknown", error.args[0].str(), partitions=sorted(self._changed))
            return
        self._learn(facts)
        starts = []
        for number, partition in self._changed.items():
            next_offset, commit = partition.buffer.next, facts.commits[number].offset
            start = next_start(partition.buffer, facts.logs[number], made_again=facts.identity.topic_id != before)
            if start.buffer is not partition.buffer:
                # Its records are of a log that is gone. An insert under way ends by itself.
                partition.released.set()
                self._take(number, start)
            if start.surprise is not None:
                self._report(number, start, next_offset, commit if commit >= 0 else None, facts.logs[number])
            starts.append(TopicPartition(self._topic, number, start.offset))
        self._changed = {}
        consumer.incremental_assign(starts)
        consumer.resume([each for each in starts if not self._is_paused(each.partition)])

    def _is_paused(self, number: int) -> bool:
        return self.partitions[number].paused or self.partitions[number].stopped

    def _take(self, number: int, start: SinkStart) -> None:
        self._status.forget(number)
        self.partitions[number] = partition = SinkPartition(number, start.buffer)
        if start.surprise is not None and start.buffer.exact_end is None:
            # Soon the commit is one of this log, whether or not there is a record to insert.
            partition.inserted = start.buffer.start

    def _drop(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self.partitions.pop(each.partition, None)
            self._changed.pop(each.partition, None)
            self._status.forget(each.partition)
        if not any(partition.failures for partition in self.partitions.values()):
            self._status.failing_since = None

    def _facts(self, consumer: Consumer, numbers: list[int]) -> TopicFacts | None:
        """What Kafka says; asked until it is known. None when the sink is to stop."""
        while not self._stop.is_set():
            self._status.goes_round()
            try:
                facts = ask(consumer, self._topic, numbers, self._ask_identity, logs=False)
            except KafkaException as error:
                self._status.failed("committed_offsets_unavailable", error.args[0].str())
                self._stop.wait(RETRY_S)
            else:
                self._learn(facts)
                return facts
        return None

    def _learn(self, facts: TopicFacts) -> None:
        self._commits.cluster_id = facts.identity.cluster_id
        self._topic_id = facts.identity.topic_id
        self._new_writer(facts.identity.topic_id)

    def _intent(self, commit: TopicPartition, cluster_id: str) -> Intent | None:
        try:
            return read_intent(commit, cluster_id)
        except MisplacedIntent as error:
            log.warning(
                "commit_metadata_ignored",
                topic=self._topic,
                partition=commit.partition,
                offset=commit.offset,
                metadata=commit.metadata,
                reason=str(error),
                action="rows that were inserted above the offset may be inserted again",
            )
            return None

    def _report(
        self, number: int, start: SinkStart, next_offset: int | None, committed: int | None, log_range: tuple[int, int]
    ) -> None:
        assert start.surprise is not None
        self._status.records_missing += start.missing
        log_out_of_range(
            TopicPartition(self._topic, number, start.offset),
            start.surprise,
            start.missing,
            committed=committed,
            next_offset=next_offset,
            log_range=log_range,
        )
