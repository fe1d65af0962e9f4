"""Reads and writes `jobs.commands` as a whole: one partition, of which compaction keeps the last record of each key.

Besides the commands it holds a record for each lane whose partitions have become more, and one for each release that
has announced its schemas.
"""

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.schemas.denial import named
from millstream.schemas.fatal_error import cause_of_failure

METADATA_TIMEOUT_S = 5.0
DELIVERY_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 30.0
END_WAIT_MS = 10
"""How long a fetch at the end of the topic waits at the broker; only its answer says that the end is reached."""


def write_records(connection: KafkaConnection, topics: TopicCatalogue, records: Mapping[bytes, bytes | None]) -> None:
    """Write records by their keys and wait until Kafka has acknowledged them. Raises KafkaException."""
    failure: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failure.append(error)

    producer = Producer(connection.producer(message_timeout_ms=int(DELIVERY_TIMEOUT_S * 1000)))
    try:
        producer.list_topics(topics.commands, METADATA_TIMEOUT_S)
        for key, value in records.items():
            producer.produce(topics.commands, value, key, on_delivery=delivered)
        if producer.flush(DELIVERY_TIMEOUT_S + 1) or failure:
            late = KafkaError(KafkaError._MSG_TIMED_OUT, f"no answer within {DELIVERY_TIMEOUT_S:g} s")
            raise KafkaException(failure[0] if failure else late)
    except (KafkaException, SystemError) as error:
        cause = cause_of_failure(producer, error)
        raise named(cause, connection.user, "Write", f"topic {topics.commands}") from error


def read_records(connection: KafkaConnection, topics: TopicCatalogue) -> Iterator[Message]:
    """Every record of the topic up to its end, the oldest first. Raises KafkaException when the topic cannot be read
    to its end."""
    topic = topics.commands
    consumer = Consumer(
        connection.consumer("millstream-commands", enable_partition_eof=True, fetch_wait_max_ms=END_WAIT_MS)
    )
    cause = KafkaError(KafkaError._TIMED_OUT, "Kafka does not answer")
    deadline = time.monotonic() + READ_TIMEOUT_S
    try:
        if (missing := consumer.list_topics(topic, METADATA_TIMEOUT_S).topics[topic].error) is not None:
            raise named(KafkaException(missing), connection.user, "Read", f"topic {topic}")
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while (message := consumer.poll(max(0.0, deadline - time.monotonic()))) is not None:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                # The client asks for its group in any case; nothing here needs it.
                cause = error
                if not error.retriable():
                    break
    finally:
        consumer.close()
    raise named(KafkaException(cause), connection.user, "Read", f"topic {topic}")
