"""A partition whose group membership was lost goes on where it was, unless somebody else has had it."""

from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.lost_partitions import ASSIGNED_WITHIN_S, KEPT_FOR_S, LostPartitions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lost(clock: Clock) -> tuple[LostPartitions, Assignment]:
    assignment = Assignment("jobs.default", 0, "default", committed=TopicPartition("jobs.default", 0, 7, "m1r:a"))
    partitions = LostPartitions(clock, lambda assignment: False)
    partitions.suspend("workers.default", assignment)
    return partitions, assignment


def test_a_partition_that_nobody_committed_meanwhile_is_the_same_assignment_again() -> None:
    partitions, assignment = lost(Clock())
    assert assignment.held and not assignment.writable
    resumed = partitions.resume(TopicPartition("jobs.default", 0, 7, "m1r:a"), rebalance=3)
    assert resumed is assignment
    assert assignment.writable and assignment.rebalance == 3


def test_a_partition_that_somebody_else_has_committed_is_released() -> None:
    for found in (TopicPartition("jobs.default", 0, 8), TopicPartition("jobs.default", 0, 7, "m1r:b")):
        partitions, assignment = lost(Clock())
        assert partitions.resume(found, rebalance=3) is None
        assert not assignment.held
        assert len(partitions) == 0


def test_a_partition_is_kept_while_no_broker_answers_but_not_for_ever() -> None:
    clock = Clock()
    partitions, assignment = lost(clock)
    clock.now = KEPT_FOR_S - 1
    assert partitions.release_expired() == []
    clock.now = KEPT_FOR_S
    assert partitions.release_expired() == [assignment]
    assert not assignment.held


def test_a_partition_that_the_group_gives_to_another_member_is_released_soon() -> None:
    clock = Clock()
    partitions, assignment = lost(clock)
    partitions.came_back("workers.high", ())
    clock.now = ASSIGNED_WITHIN_S
    assert partitions.release_expired() == []
    partitions.came_back("workers.default", ())
    clock.now = 2 * ASSIGNED_WITHIN_S
    assert partitions.release_expired() == [assignment]


def test_a_partition_that_is_assigned_again_is_kept_until_its_commit_is_read() -> None:
    clock = Clock()
    partitions, assignment = lost(clock)
    partitions.came_back("workers.default", {("jobs.default", 0)})
    clock.now = 10 * KEPT_FOR_S
    assert partitions.release_expired() == []
    partitions.lost_again("workers.default")
    clock.now = 11 * KEPT_FOR_S
    assert partitions.release_expired() == [assignment]


def test_a_partition_that_is_taken_away_before_its_commit_is_read_is_released() -> None:
    partitions, assignment = lost(Clock())
    partitions.came_back("workers.default", {("jobs.default", 0)})
    partitions.give_up([("jobs.default", 0), ("jobs.default", 1)])
    assert not assignment.held and len(partitions) == 0
