"""A new partition of a lane is read when the jobs of its keys that lie elsewhere are done, and not before."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.coordination.new_partitions import NewPartitions
from millstream.schemas import DecodeError
from millstream.schemas.partition_growth import GrowthStep, PartitionGrowth
from tests.support.scripted_group import ScriptedConsumer, scripted_member
from tests.unit.consumers.worker.conftest import TOPIC, Parts, everything_passed


@dataclass
class Progress:
    """Stands for Kafka: how far the group is in each partition, and what was asked."""

    at: dict[int, int] = field(default_factory=dict)
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    def passed(self, group: str, ends: Sequence[TopicPartition]) -> set[tuple[str, int]]:
        self.asked += [(group, end.partition, end.offset) for end in ends]
        return {(end.topic, end.partition) for end in ends if self.at.get(end.partition, 0) >= end.offset}


def grown(*steps: GrowthStep) -> bytes:
    return PartitionGrowth(topic=TOPIC, steps=steps).model_dump_json().encode()


def held(new_partitions: NewPartitions, *assignments: Assignment) -> list[int]:
    """Assign; returns the partitions that are held."""
    consumer = ScriptedConsumer()
    new_partitions.hold(scripted_member(consumer), assignments)
    waiting = [each.partition for each in assignments if each.waiting]
    assert sorted(partition for _, partition in consumer.paused) == waiting
    return waiting


def test_a_new_partition_waits_for_the_partition_that_had_its_keys_and_only_for_that() -> None:
    progress = Progress()
    new_partitions = NewPartitions(progress.passed)
    new_partitions.receive(grown(GrowthStep(before=2, after=6, ends=(10, 20))))
    assignments = [Assignment(TOPIC, number) for number in range(6)]
    assert held(new_partitions, *assignments) == [2, 3, 4, 5]
    progress.at = {0: 9, 1: 20}
    new_partitions.check()
    assert [each.partition for each in assignments if each.waiting] == [2, 4]
    assert sorted(progress.asked) == [("workers.default", 0, 10), ("workers.default", 1, 20)], "asked once each"
    progress.at = {0: 10}
    new_partitions.check()
    assert not any(each.waiting for each in assignments)


def test_new_partitions_wait_while_some_producer_may_not_know_them() -> None:
    new_partitions = NewPartitions(everything_passed)
    new_partitions.receive(grown(GrowthStep(before=1, after=2)))
    assignment = Assignment(TOPIC, 1)
    assert held(new_partitions, assignment) == [1]
    new_partitions.check()
    assert assignment.waiting
    new_partitions.receive(grown(GrowthStep(before=1, after=2, ends=(5,))))
    new_partitions.check()
    assert not assignment.waiting


def test_a_partition_with_a_commit_of_the_group_waits_no_more() -> None:
    new_partitions = NewPartitions(Progress().passed)
    new_partitions.receive(grown(GrowthStep(before=1, after=2, ends=(5,))))
    assert held(new_partitions, Assignment(TOPIC, 1, first_offset=3)) == []
    assert held(new_partitions, Assignment(TOPIC, 1, first_offset=0)) == [1], "a commit of nothing says nothing"


def test_each_partition_waits_for_the_growth_that_made_it() -> None:
    progress = Progress()
    new_partitions = NewPartitions(progress.passed)
    new_partitions.receive(
        grown(GrowthStep(before=2, after=4, ends=(1, 2)), GrowthStep(before=4, after=8, ends=(3, 4, 5, 6)))
    )
    assert held(new_partitions, *(Assignment(TOPIC, number) for number in (3, 7))) == [3, 7]
    new_partitions.check()
    assert sorted(progress.asked) == [("workers.default", 1, 2), ("workers.default", 3, 6)]


def test_a_partition_that_is_taken_away_is_not_asked_for() -> None:
    progress = Progress()
    new_partitions = NewPartitions(progress.passed)
    new_partitions.receive(grown(GrowthStep(before=1, after=2, ends=(5,))))
    assignment = Assignment(TOPIC, 1)
    held(new_partitions, assignment)
    assignment.release()
    new_partitions.check()
    new_partitions.check()
    assert progress.asked == []


def test_nothing_is_read_from_a_partition_that_waits_and_all_of_it_afterwards(parts: Parts) -> None:
    parts.new_partitions.receive(grown(GrowthStep(before=1, after=2, ends=(5,))))
    parts.assign(0, 1)
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == {(TOPIC, 1)}
    parts.new_partitions.check()
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == set()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"garbage",
        b'{"steps": []}',
        b'{"topic": "jobs.default", "steps": [{"before": 0, "after": 2}]}',
        b'{"topic": "jobs.default", "steps": [{"before": 2, "after": 3}]}',
        b'{"topic": "jobs.default", "steps": [{"before": 2, "after": 4, "ends": [7]}]}',
    ],
)
def test_what_is_not_the_growth_of_a_topic_is_refused_and_changes_nothing(value: bytes | None) -> None:
    new_partitions = NewPartitions(Progress().passed)
    new_partitions.receive(grown(GrowthStep(before=1, after=2)))
    with pytest.raises(DecodeError):
        new_partitions.receive(value)
    assert held(new_partitions, Assignment(TOPIC, 1)) == [1]
