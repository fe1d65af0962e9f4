"""Leaving a consumer group.

A consumer that is closed while a rebalance waits to be handled may wait for ever for its own client, and hold the
interpreter's lock meanwhile (librdkafka issues 4041 and 4884). So a member handles what has come before it closes. To
unsubscribe first is no way: a consumer that is closed soon after may end before it has left the group.
"""

import time
from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition

SERVED_AT_ONCE = 500
SERVE_WITHIN_S = 1.0
"""Records keep coming meanwhile."""


def leave_group(consumer: Consumer) -> None:
    """Leave the group and close the consumer; a static member keeps its place in the group. Blocks while a join is
    under way. What the member is assigned meanwhile it must `decline`, and `give_up` what is revoked or lost."""
    try:
        deadline = time.monotonic() + SERVE_WITHIN_S
        while consumer.consume(SERVED_AT_ONCE, 0) and time.monotonic() < deadline:
            pass
    finally:
        consumer.close()


def decline(consumer: Consumer) -> None:
    """Read nothing of what the group has just assigned."""
    consumer.incremental_assign([])


def give_up(consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
    """Stop reading those of these partitions that the client reads: without an answer that is right for it, the client
    waits for another one."""
    read = {(each.topic, each.partition) for each in consumer.assignment()}
    consumer.incremental_unassign([each for each in partitions if (each.topic, each.partition) in read])
