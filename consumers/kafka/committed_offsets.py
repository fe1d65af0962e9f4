"""Reads what a consumer group has committed, and keeps asking until the answer is known.

A group's offsets cannot be read while a transaction that writes them is open, or while the coordinator is away. To
start from anywhere else meanwhile would lose records or process them twice.
"""

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition


def committed_offsets(
    consumer: Consumer,
    partitions: list[TopicPartition],
    keep_waiting: Callable[[str], bool],
    timeout_s: float = 2.0,
) -> list[TopicPartition] | None:
    """The commits of `consumer`'s group for these partitions, with offset and metadata. Blocks.

    After each failed attempt, which takes at most `timeout_s` seconds, `keep_waiting` is called with the reason; when
    it returns False the result is None.
    """
    while partitions:
        try:
            answer = consumer.committed(partitions, timeout_s)
            reason = next((each.error.str() for each in answer if each.error is not None), "")
        except KafkaException as error:
            answer, reason = [], error.args[0].str()
        if not reason:
            return answer
        if not keep_waiting(reason):
            return None
    return []
