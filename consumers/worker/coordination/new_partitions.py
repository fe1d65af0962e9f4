"""Holds the new partitions of a lane that has grown until the jobs of their keys that lie elsewhere are done.

Jobs of one ordering key run in the order of their partition. When a lane gets more partitions, some keys move to a new
one, while their earlier jobs still wait in the partition from before. A new partition is assigned like any other, but
nothing is fetched from it until its group has committed those jobs (see `schemas/partition_growth.py`).
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from pydantic import ValidationError

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker.coordination.background_thread import BackgroundThread
from millstream.schemas import DecodeError, KafkaConnection
from millstream.schemas.partition_growth import GrowthStep, PartitionGrowth

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 0.5
RESPONSE_TIMEOUT_S = 3.0
JOIN_S = 5.0
STILL_WAITING_LOG_S = 60.0

Passed = Callable[[str, Sequence[TopicPartition]], set[tuple[str, int]]]
"""Which of these partitions a group has processed below the offset of each. Blocks up to a few seconds."""


class NewPartitions(BackgroundThread):
    """Knows the growth of every lane and which assignments wait. Thread-safe; a thread of its own, from entering to
    leaving, releases what no longer has to wait."""

    def __init__(self, passed: Passed) -> None:
        super().__init__("millstream-new-partitions", JOIN_S)
        self._passed = passed
        self._growth: dict[str, PartitionGrowth] = {}
        self._waiting: dict[Assignment, str] = {}
        self._logged_at = float("-inf")
        self._lock = threading.Lock()

    def receive(self, value: bytes | None) -> None:
        """Note the growth of a topic. Raises `DecodeError`; nothing has changed then."""
        try:
            growth = PartitionGrowth.model_validate_json(value or b"")
        except ValidationError as error:
            raise DecodeError(f"not the growth of a topic: {error}") from error
        with self._lock:
            self._growth[growth.topic] = growth

    def hold(self, member: GroupMember, assignments: Sequence[Assignment]) -> None:
        """Pause those of these new assignments that must wait. Called on the poll thread, before anything is fetched.

        A commit above the beginning of a new partition shows that it has waited long enough before.
        """
        held = []
        for each in assignments:
            if each.first_offset <= 0 and self._step(each) is not None:
                each.waiting = each.paused = True
                held.append(each)
        if held:
            member.pause(held)
            with self._lock:
                self._waiting |= dict.fromkeys(held, member.group)

    def check(self) -> None:
        """Release the assignments whose keys have nothing left elsewhere. Blocks while Kafka is asked."""
        with self._lock:
            waiting = dict(self._waiting)
        ends: dict[str, dict[tuple[str, int], TopicPartition]] = {}
        for assignment, group in waiting.items():
            if (end := self._end(assignment)) is not None:
                ends.setdefault(group, {})[end.topic, end.partition] = end
        passed = {group: self._passed(group, list(asked.values())) for group, asked in ends.items()}
        for assignment, group in waiting.items():
            if assignment.held and self._must_wait(assignment, passed.get(group, set())):
                continue
            with self._lock:
                del self._waiting[assignment]
            assignment.waiting = False
            if assignment.held:
                log.info("new_partition_released", topic=assignment.topic, partition=assignment.partition)
        self._log_waiting()

    def _end(self, assignment: Assignment) -> TopicPartition | None:
        """Up to where the partition that had the keys must be processed; None when that is not known or not needed."""
        step = self._step(assignment)
        if step is None or step.ends is None or not assignment.held:
            return None
        source = step.source(assignment.partition)
        return TopicPartition(assignment.topic, source, step.ends[source])

    def _must_wait(self, assignment: Assignment, passed: set[tuple[str, int]]) -> bool:
        step = self._step(assignment)
        return step is not None and (assignment.topic, step.source(assignment.partition)) not in passed

    def _step(self, assignment: Assignment) -> GrowthStep | None:
        with self._lock:
            growth = self._growth.get(assignment.topic)
        return growth.step_of(assignment.partition) if growth else None

    def _log_waiting(self) -> None:
        with self._lock:
            waiting = [f"{each.topic}[{each.partition}]" for each in self._waiting]
        now = time.monotonic()
        if waiting and now - self._logged_at >= STILL_WAITING_LOG_S:
            self._logged_at = now
            log.info("new_partitions_waiting", partitions=waiting, until="earlier jobs of their keys are done")

    def _run(self) -> None:
        while not self._stop.wait(CHECK_INTERVAL_S):
            if self._waiting:
                self._try_check()

    def _try_check(self) -> None:
        """The thread must go on: without it the partitions would wait until the worker is started again."""
        try:
            self.check()
        except Exception:
            log.error("new_partitions_not_checked", exc_info=True)


class GroupProgress:
    """Asks Kafka how far groups are, with clients that join none of them."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection

    def passed(self, group: str, ends: Sequence[TopicPartition]) -> set[tuple[str, int]]:
        """The partitions of which the group has processed every record below the offset in `ends`; those without an
        answer are left out.

        The offset that a group has committed stays below transaction markers and aborted records at the end of a
        partition, so the first record that is not committed decides. A log that ends below the offset is another
        one: the topic was deleted and created again.
        """
        consumer = Consumer(self._connection.consumer(group, enable_partition_eof=True))
        try:
            return self._ask(consumer, {(each.topic, each.partition): each.offset for each in ends})
        except KafkaException:
            return set()
        finally:
            consumer.close()

    def _ask(self, consumer: Consumer, ends: dict[tuple[str, int], int]) -> set[tuple[str, int]]:
        passed = {where for where, end in ends.items() if end == 0}
        asked = [TopicPartition(*where) for where in ends.keys() - passed]
        starts = {}
        for committed in consumer.committed(asked, RESPONSE_TIMEOUT_S) if asked else []:
            where = committed.topic, committed.partition
            if committed.error is not None:
                continue
            _, high = consumer.get_watermark_offsets(TopicPartition(*where), RESPONSE_TIMEOUT_S)
            if committed.offset >= ends[where] or high < ends[where]:
                passed.add(where)
            else:
                starts[where] = committed.offset if committed.offset >= 0 else OFFSET_BEGINNING
        return passed | {where for where, offset in _first_readable(consumer, starts).items() if offset >= ends[where]}


def _first_readable(consumer: Consumer, starts: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """For each partition the offset of the first committed record from its start on, or of the end when there is
    none."""
    if not starts:
        return {}
    deadline = time.monotonic() + RESPONSE_TIMEOUT_S
    found: dict[tuple[str, int], int] = {}
    consumer.assign([TopicPartition(*where, offset) for where, offset in starts.items()])
    while len(found) < len(starts) and (left_s := deadline - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        if message is None:
            continue
        error, topic, partition, offset = message.error(), message.topic(), message.partition(), message.offset()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            continue
        assert topic is not None and partition is not None and offset is not None
        found.setdefault((topic, partition), offset)
    return found
