"""Events of jobs for a tracker to read."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from millstream.schemas import Codec, EventKind, JobEvent, KafkaConnection, TopicCatalogue
from millstream.schemas.ids import new_id

CODEC = Codec()


def life(job_id: str, end: EventKind | None = EventKind.SUCCEEDED) -> list[JobEvent]:
    """The events of a job of one attempt; without an end it still runs."""
    now = datetime.now(UTC)
    common: dict[str, Any] = {
        "job_id": job_id,
        "tenant": "acme",
        "job_type": "a",
        "lane": "default",
        "submitted_at": now,
    }
    begun = {**common, "attempt": 1, "execution_id": new_id(), "started_at": now, "worker_id": "w1", "wait_ms": 1.0}
    events = [
        JobEvent(**common, kind=EventKind.SUBMITTED, occurred_at=now),
        JobEvent(**begun, kind=EventKind.STARTED, occurred_at=now),
    ]
    if end:
        events.append(JobEvent(**begun, kind=end, occurred_at=now, final=True, run_ms=2.0))
    return events


def committed(bootstrap: str, topics: TopicCatalogue, partitions: Iterable[int] = range(4)) -> int:
    """The sum of the offsets that the tracker's group has committed in these partitions."""
    consumer = Consumer(KafkaConnection(bootstrap).consumer(f"{topics.prefix}tracker"))
    offsets = consumer.committed([TopicPartition(topics.events, number) for number in partitions], 10)
    consumer.close()
    return sum(max(each.offset, 0) for each in offsets)


class EventWriter:
    """Writes events in transactions, as workers do."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(KafkaConnection(bootstrap).producer(transactional_id=f"writer-{new_id()}"))
        self._producer.init_transactions(30)

    def write(self, events: list[JobEvent], *, commit: bool = True, garbage: bytes | None = None) -> None:
        self._producer.begin_transaction()
        for event in events:
            self._producer.produce(self._topic, CODEC.encode(event), event.job_id.encode())
        if garbage is not None:
            self._producer.produce(self._topic, garbage, b"garbage")
        self._producer.flush()
        if commit:
            self._producer.commit_transaction(30)
        else:
            self._producer.abort_transaction(30)
