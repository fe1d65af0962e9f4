"""A group member reads everything that it is assigned, also what was paused before."""

from confluent_kafka import Consumer, Producer, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.waiting import until


class ReadEverything:
    """Reads every partition that it is assigned, from the beginning."""

    def on_assign(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        member.assign([Assignment(each.topic, each.partition, "default") for each in partitions])

    def on_revoke(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            member.remove((each.topic, each.partition))
        member.unassign(partitions)

    on_lost = on_revoke


def test_a_partition_that_was_paused_when_it_was_handed_over_is_read_when_it_comes_back(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    lane = topics.lane("default")

    def member() -> GroupMember:
        settings = KafkaConnection(kafka.bootstrap).consumer(
            f"{topics.prefix}workers", partition_assignment_strategy="cooperative-sticky"
        )
        joining = GroupMember("workers", Consumer(settings), {lane: "default"}, overflow=False)

        joining.join(ReadEverything())
        return joining

    first, read = member(), set()

    def polls(*members: GroupMember) -> None:
        for each in members:
            for message in [*each.fetch(), *each.poll(0.02)]:
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
    second.leave()
    until(lambda: has(4))
    producer = Producer(KafkaConnection(kafka.bootstrap).producer())
    for partition in range(4):
        producer.produce(lane, b"work", partition=partition)
    producer.flush(10)

    def all_read() -> bool:
        polls(first)
        return {(lane, partition) for partition in read} >= handed_over

    until(all_read)
    first.leave()
