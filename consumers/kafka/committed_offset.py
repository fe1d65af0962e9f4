"""Asks what a consumer group has committed of one partition."""

from confluent_kafka import Consumer, KafkaException, TopicPartition


def committed_offset(consumer: Consumer, place: TopicPartition, within_s: float) -> TopicPartition | str:
    """The commit of the consumer's group, with offset and metadata, or why it is unknown. Blocks.

    A commit cannot be read while a transaction that changes it is open, or while the coordinator is away. To start from
    anywhere else meanwhile would lose records or process them twice.
    """
    try:
        (found,) = consumer.committed([place], within_s)
    except KafkaException as error:
        return str(error.args[0].str())
    return found if found.error is None else str(found.error.str())
