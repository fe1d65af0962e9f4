"""What the two clients share: the Kafka producer, the two records of a submission, and delivery errors."""

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream.schemas import Codec, EventBytes, EventKind, JobRequest, KafkaConnection, TopicCatalogue

DeliveryCallback = Callable[[KafkaError | None, Message], None]


class SubmitError(RuntimeError):
    """Kafka did not acknowledge a request. `failed` holds (job id, reason) of each job that was not accepted."""

    def __init__(self, failed: list[tuple[str, str]]) -> None:
        self.failed = failed
        first = failed[0]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        super().__init__(f"job {first[0]} was not accepted: {first[1]}{more}")


class Submission:
    """Writes requests and their `submitted` events through one idempotent producer.

    The acknowledgement of the request accepts the job. The `submitted` event only makes it visible before it starts:
    every later event carries `submitted_at` too, so its delivery is not waited for.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        codec: Codec,
        *,
        linger_ms: float,
        delivery_timeout_s: float,
        transactional_id: str | None = None,
    ) -> None:
        self._topics = topics
        self._codec = codec
        self._events = EventBytes(codec)
        self._attempt_part = self._events.attempt_part({})
        properties = connection.producer(
            linger_ms=linger_ms,
            delivery_timeout_ms=round(delivery_timeout_s * 1000),
            queue_buffering_max_messages=200_000,
            # A topic that is not there is said to be missing after this, not after half a minute.
            topic_metadata_propagation_max_ms=2000,
        )
        if transactional_id:
            properties |= {"transactional.id": transactional_id, "transaction.timeout.ms": 60_000}
        self.producer = Producer(properties)

    def write(self, request: JobRequest, on_delivery: DeliveryCallback) -> None:
        """Hand both records to the producer; blocks while its buffer is full. `on_delivery` tells of the request."""
        key = request.record_key
        self._produce(self._topics.lane(request.lane), key, self._codec.encode(request), on_delivery)
        event = self._events.event(
            self._events.job_part(request), self._attempt_part, EventKind.SUBMITTED, request.submitted_at
        )
        self._produce(self._topics.events, request.job_id.encode(), event, None)

    def _produce(self, topic: str, key: bytes, value: bytes, on_delivery: DeliveryCallback | None) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, on_delivery=on_delivery)
                return
            except BufferError:
                self.producer.poll(0.05)


def explain(error: KafkaError | KafkaException) -> str:
    """A Kafka error as a sentence that names the cause and, where there is a usual one, the way out."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    text = str(cause.str())
    hints: dict[int, str] = {
        KafkaError._MSG_TIMED_OUT: "no broker acknowledged it in time; is Kafka reachable? (millstream doctor)",
        KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist (millstream topics apply)",
        KafkaError._UNKNOWN_TOPIC: "the topic does not exist (millstream topics apply)",
        KafkaError.MSG_SIZE_TOO_LARGE: "the record is larger than the broker takes (message.max.bytes)",
    }
    hint = hints.get(cause.code())
    return f"{text}: {hint}" if hint else text
