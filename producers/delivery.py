"""What the two clients share: the Kafka producer, the two records of a submission, and delivery errors."""

import itertools
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream.producers.preparation import PreparedJob
from millstream.schemas import KafkaConnection, TopicCatalogue

DeliveryCallback = Callable[[KafkaError | None, Message], None]


class SubmitError(RuntimeError):
    """Kafka did not acknowledge a request. `failed` holds (job id, reason) of each job that was not accepted."""

    def __init__(self, failed: list[tuple[str, str]]) -> None:
        self.failed = failed
        first = failed[0]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        super().__init__(f"job {first[0]} was not accepted: {first[1]}{more}")


class Receipt:
    """The delivery of jobs that were submitted together. Thread-safe: the thread that polls the producer calls the
    callbacks.

    `when_done` is called once, when the last of them was accepted or failed.
    """

    def __init__(self, jobs: int, when_done: Callable[[], None] | None = None) -> None:
        self.failed: list[tuple[str, str]] = []
        self.done = jobs == 0
        self._jobs = jobs
        self._when_done = when_done
        self._numbers = itertools.count(1)
        self._settled = 0

    @property
    def accepted(self) -> int:
        return self._settled - len(self.failed)

    def watch(self, job_id: str) -> DeliveryCallback:
        """The callback for the delivery of this job's request."""

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error:
                self.failed.append((job_id, explain(error)))
            self._settle_one()

        return delivered

    def reject(self, job_id: str, error: KafkaException) -> None:
        """Note a job that the producer itself rejected."""
        self.failed.append((job_id, explain(error)))
        self._settle_one()

    def _settle_one(self) -> None:
        # Adding one is not atomic; the next number of an iterator in C is.
        number = next(self._numbers)
        self._settled = number
        if number == self._jobs:
            self.done = True
            if self._when_done:
                self._when_done()


class Submission:
    """Writes requests and their `submitted` events through one idempotent producer.

    The acknowledgement of the request accepts the job. The `submitted` event only makes it visible before it starts:
    every later event carries `submitted_at` too, so its delivery is not awaited.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        *,
        linger_ms: float,
        delivery_timeout_s: float,
        transactional_id: str | None = None,
    ) -> None:
        self._events = topics.events
        properties = connection.producer(
            linger_ms=linger_ms,
            delivery_timeout_ms=round(delivery_timeout_s * 1000),
            queue_buffering_max_messages=200_000,
            # A missing topic is reported after this time, not after half a minute.
            topic_metadata_propagation_max_ms=2000,
        )
        if transactional_id:
            properties |= {"transactional.id": transactional_id, "transaction.timeout.ms": 60_000}
        self.producer = Producer(properties)

    def write(self, job: PreparedJob, receipt: Receipt) -> None:
        """Enqueue both records of a job. Blocks while the producer's buffer is full."""
        job_id = job.job_id.encode()
        request, event = job.shared.records(job_id, job.ordering_key, job.payload)
        try:
            self._produce(job.topic, request, job.ordering_key or job_id, receipt.watch(job.job_id))
        except KafkaException as error:
            receipt.reject(job.job_id, error)
            return
        with suppress(KafkaException):
            self._produce(self._events, event, job_id, None)

    def _produce(self, topic: str, value: bytes, key: bytes, on_delivery: DeliveryCallback | None) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, on_delivery=on_delivery)
                return
            except BufferError:
                self.producer.poll(0.05)


def explain(error: KafkaError | KafkaException) -> str:
    """A Kafka error as a sentence that names the cause and, where there is a usual one, the remedy."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    text = str(cause.str())
    hints: dict[int, str] = {
        KafkaError._MSG_TIMED_OUT: "no broker acknowledged it in time; is Kafka reachable? (millstream doctor)",
        KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist (millstream topics apply)",
        KafkaError._UNKNOWN_TOPIC: "the topic does not exist (millstream topics apply)",
        KafkaError.MSG_SIZE_TOO_LARGE: "the record is larger than the broker accepts (message.max.bytes)",
    }
    hint = hints.get(cause.code())
    return f"{text}: {hint}" if hint else text
