"""Which errors of a consumer say that a log is not what it was."""

from confluent_kafka import KafkaError

LOG_CHANGED = (
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
"""Codes after which it must be found out what the log holds: the next offset is not in it, or the topic is not there,
so that it will be another log."""
