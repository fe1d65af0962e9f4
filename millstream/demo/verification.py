"""Counts the outcomes on `jobs.events`, independently of the tracker and the sink."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from millstream.schemas import OUTCOMES, Codec, JobEvent, KafkaConnection
from millstream.schemas.ids import new_id


@dataclass(frozen=True)
class Outcomes:
    """What an independent reader found on `jobs.events`: outcomes of each (job, attempt), and jobs that ended."""

    attempts: Counter[tuple[str, int]]
    finished: frozenset[str]

    @property
    def doubled(self) -> int:
        """Outcomes beyond the first of an attempt; 0 is right."""
        return sum(count - 1 for count in self.attempts.values())

    def lost(self, submitted: Iterable[str]) -> list[str]:
        """Jobs that were accepted and never ended; empty is right."""
        return [job_id for job_id in submitted if job_id not in self.finished]


def read_outcomes(
    connection: KafkaConnection,
    topic: str,
    codec: Codec,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Outcomes:
    """Read every committed event on the topic, from the first to the last there is now, and count the outcomes.

    The reader has no group and shares nothing with worker, tracker or sink but the wire format. `on_progress` is called
    with the number of events read so far. Raises `KafkaException`, also when the topic does not exist.
    """
    attempts: Counter[tuple[str, int]] = Counter()
    finished: set[str] = set()
    read = 0
    consumer = Consumer(connection.consumer(f"count-{new_id()}", enable_partition_eof=True))
    try:
        known = consumer.list_topics(topic, 10).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        partitions = list(known.partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        unread = set(partitions)
        while unread:
            for message in consumer.consume(5000, 1.0):
                if message.error():
                    unread.discard(message.partition() if message.partition() is not None else -1)
                    continue
                read += 1
                event = codec.decode(message.value(), JobEvent)
                if event.kind in OUTCOMES:
                    attempts[event.job_id, event.attempt] += 1
                    if event.final:
                        finished.add(event.job_id)
            on_progress(read)
    finally:
        consumer.close()
    return Outcomes(attempts, frozenset(finished))
