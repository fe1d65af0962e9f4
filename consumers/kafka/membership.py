"""A consumer's membership of its group.

A consumer that is closed while a rebalance waits to be handled may wait for ever for its own client, and hold the
interpreter's lock meanwhile (librdkafka issues 4041 and 4884). So a member handles what has come before it closes. To
unsubscribe first is no way: a consumer that is closed soon after may end before it has left the group.
"""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, TopicPartition

SERVED_AT_ONCE = 500
SERVE_WITHIN_S = 1.0
"""Records keep coming meanwhile."""

Reaction = Callable[[Consumer, list[TopicPartition]], None]
"""What a consumer calls, while it is polled or closed, with what it is assigned, must give back or has lost."""


class Membership:
    """From subscribing to leaving. A member that leaves declines what it is assigned, and gives up what is revoked or
    lost: its own reactions are for a member that stays."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._leaving = False

    def join(self, topics: list[str], *, on_assign: Reaction, on_revoke: Reaction, on_lost: Reaction) -> None:
        """Subscribe. Returns at once; the group assigns partitions while the consumer is polled."""
        self._consumer.subscribe(
            topics,
            on_assign=self._unless_leaving(on_assign, _decline),
            on_revoke=self._unless_leaving(on_revoke, give_up),
            on_lost=self._unless_leaving(on_lost, give_up),
        )

    def leave(self) -> None:
        """Leave the group, unless it is left already, and close the consumer; a static member keeps its place in the
        group. Blocks while a join is under way."""
        if self._leaving:
            return
        self._leaving = True
        try:
            deadline = time.monotonic() + SERVE_WITHIN_S
            while self._consumer.consume(SERVED_AT_ONCE, 0) and time.monotonic() < deadline:
                pass
        finally:
            self._consumer.close()

    def _unless_leaving(self, react: Reaction, answer: Reaction) -> Reaction:
        def callback(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            (answer if self._leaving else react)(consumer, partitions)

        return callback


def give_up(consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
    """Stop reading those of these partitions that the client reads: without an answer that is right for it, the client
    waits for another one."""
    read = {(each.topic, each.partition) for each in consumer.assignment()}
    consumer.incremental_unassign([each for each in partitions if (each.topic, each.partition) in read])


def _decline(consumer: Consumer, _: Sequence[TopicPartition]) -> None:
    consumer.incremental_assign([])
