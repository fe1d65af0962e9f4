"""What the partitions of a lane hold now, for tests that move offsets."""

from confluent_kafka import Consumer, KafkaError, TopicPartition

from millstream.schemas import Codec, KafkaConnection, RequestReader

Place = tuple[int, int]
"""A partition and an offset."""


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The end of each partition."""
    reader = Consumer(KafkaConnection(bootstrap).consumer("ends"))
    partitions = reader.list_topics(topic, 10).topics[topic].partitions
    found = {each: reader.get_watermark_offsets(TopicPartition(topic, each), 10)[1] for each in partitions}
    reader.close()
    return found


def places_of_jobs(bootstrap: str, topic: str) -> dict[str, Place]:
    """Where the last request of each job is."""
    requests = RequestReader(Codec())
    reader = Consumer(KafkaConnection(bootstrap).consumer("places", enable_partition_eof=True))
    unread = set(reader.list_topics(topic, 10).topics[topic].partitions)
    reader.assign([TopicPartition(topic, each, 0) for each in unread])
    found: dict[str, Place] = {}
    while unread:
        for message in reader.consume(5_000, 1.0):
            error, partition, offset = message.error(), message.partition(), message.offset()
            assert partition is not None and offset is not None
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                unread.discard(partition)
            else:
                found[requests.read(message.value()).key.decode()] = partition, offset
    reader.close()
    return found
