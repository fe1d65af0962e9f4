"""Who reads what: each worker has its part of each lane, and reads all that it has."""

import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until


def parts(kafka: Broker, topics: TopicCatalogue) -> list[list[int]]:
    """For each lane, how many of its four partitions each of its members has."""
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    groups = [f"{topics.prefix}workers.{lane}" for lane in topics.lanes]
    described = [future.result() for future in admin.describe_consumer_groups(groups).values()]
    return [sorted(len(each.assignment.topic_partitions) for each in group.members) for group in described]


def test_a_worker_that_joins_later_gets_its_part_of_each_lane(kafka: Broker, topics: TopicCatalogue) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1"):
        until(lambda: parts(kafka, topics) == [[4]] * 3)
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2"):
            until(lambda: parts(kafka, topics) == [[2, 2]] * 3)


def test_a_worker_with_a_full_window_still_gives_others_their_part(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    briefly: dict[str, Any] = {"revoke_grace_s": 0.2, "drain_grace_s": 0.0}
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", window=4, **briefly):
        # Jobs with a key are never moved aside.
        client.submit_many([NewJob("sleep", {"seconds": 600}, ordering_key=str(number)) for number in range(20)])
        while len(log.started) < 4:
            log.read()
        # By now it has stopped fetching.
        time.sleep(1)
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2", **briefly):
            until(lambda: parts(kafka, topics) == [[2, 2]] * 3)


def test_a_partition_that_was_paused_when_it_was_handed_over_is_read_when_it_comes_back(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    lane = topics.lane("default")

    def member() -> GroupMember:
        settings = KafkaConnection(kafka.bootstrap).consumer(
            f"{topics.prefix}workers", partition_assignment_strategy="cooperative-sticky"
        )
        membership = GroupMember("workers", Consumer(settings), {lane: "default"}, overflow=False)

        def take(_: GroupMember, partitions: list[TopicPartition]) -> None:
            membership.assign([Assignment(lane, each.partition, "default") for each in partitions])

        def give(_: GroupMember, partitions: list[TopicPartition]) -> None:
            for each in partitions:
                membership.let_go((lane, each.partition))
            membership.consumer.incremental_unassign(partitions)

        membership.join(take, give, give)
        return membership

    first, read = member(), set()

    def polls(*members: GroupMember) -> None:
        for each in members:
            for message in [*each.arrived(), *each.wait(0.02)]:
                if each is first and not message.error():
                    read.add(message.partition())

    def has(count: int, *others: GroupMember) -> bool:
        polls(first, *others)
        return len(first.assignments) == count

    until(lambda: has(4))
    first.pause(list(first.assignments.values()))
    for assignment in first.assignments.values():
        assignment.paused = True
    second = member()
    until(lambda: has(2, second) and len(second.assignments) == 2)
    handed_over = set(second.assignments)
    second.consumer.close()
    until(lambda: has(4))
    producer = Producer(KafkaConnection(kafka.bootstrap).producer())
    for partition in range(4):
        producer.produce(lane, b"work", partition=partition)
    producer.flush(10)

    def all_read() -> bool:
        polls(first)
        return {(lane, partition) for partition in read} >= handed_over

    until(all_read)
    first.consumer.close()


def test_workers_of_the_newer_group_protocol_share_each_lane_and_hand_over_without_a_loss(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", group_protocol="consumer"):
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2", group_protocol="consumer"):
            until(lambda: parts(kafka, topics) == [[2, 2]] * 3)
            first = client.submit_many([NewJob("sleep", {"seconds": 0.01}) for _ in range(300)])
            while len(log.started) < 100:
                log.read()
        until(lambda: parts(kafka, topics) == [[4]] * 3)
        second = client.submit_many([NewJob("sleep", {}) for _ in range(100)])
        log.until_finished([*first, *second])
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert len(log.outcomes) == 400
