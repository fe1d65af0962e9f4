"""What the two clients share: the Kafka producer, the two records of a submission, and delivery errors."""

import itertools
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream.producers.preparation import PreparedJob
from millstream.schemas import KafkaConnection, TopicCatalogue

MAYBE_ACCEPTED = (
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._PURGE_INFLIGHT,
    KafkaError.REQUEST_TIMED_OUT,
)
"""Delivery errors of a request that may have reached a broker."""

ATOMIC_WITHIN_S = 5.0
"""How long the broker keeps an open transaction of a producer, which holds back the other readers of its lanes."""

DeliveryCallback = Callable[[KafkaError | None, Message], None]


class SubmitError(RuntimeError):
    """Kafka did not acknowledge every request of a call.

    `not_accepted`: (job id, reason) of each job that Kafka does not have, so it may be submitted again. `unknown`:
    those that were handed to the producer without an answer in time: each may be in Kafka, now or a moment later, and
    run, so a job that is submitted again may run twice; under the same id it is then another attempt. `failed`: both.
    """

    def __init__(self, not_accepted: list[tuple[str, str]], unknown: list[tuple[str, str]] | None = None) -> None:
        self.not_accepted = not_accepted
        self.unknown = unknown or []
        super().__init__("; ".join(filter(None, [self._told("was not accepted", self.not_accepted), self._unknown()])))

    @property
    def failed(self) -> list[tuple[str, str]]:
        return [*self.not_accepted, *self.unknown]

    def _unknown(self) -> str:
        return self._told("may or may not be accepted", self.unknown)

    @staticmethod
    def _told(what: str, jobs: list[tuple[str, str]]) -> str:
        if not jobs:
            return ""
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        return f"job {jobs[0][0]} {what}: {jobs[0][1]}{more}"


class Receipt:
    """The delivery of jobs that were submitted together. Thread-safe: the thread that polls the producer calls the
    callbacks.

    `when_done` is called once, when the last of them was accepted or failed. `deadline`: when the call is to end, in
    seconds of the monotonic clock.
    """

    def __init__(self, jobs: int, deadline: float = math.inf, when_done: Callable[[], None] | None = None) -> None:
        self.done = jobs == 0
        self.deadline = deadline
        self._jobs = jobs
        self._when_done = when_done
        self._numbers = itertools.count(1)
        self._settled = 0
        self._not_accepted: list[tuple[str, str]] = []
        self._unknown: list[tuple[str, str]] = []
        self._waiting: dict[str, None] = {}
        self._on_delivery = self._delivered

    @property
    def accepted(self) -> int:
        return self._settled - len(self._not_accepted) - len(self._unknown)

    @property
    def late(self) -> bool:
        """Whether the call is to end now."""
        return time.monotonic() > self.deadline

    def watch(self, job_id: str) -> DeliveryCallback:
        """The callback for the delivery of this job's request."""
        self._waiting[job_id] = None
        # The fewer objects wait, the shorter the garbage collector stops the caller's event loop.
        return partial(self._on_delivery, job_id)

    def reject(self, job_id: str, reason: str) -> None:
        """Note a job that the producer did not take."""
        self._waiting.pop(job_id, None)
        self._not_accepted.append((job_id, reason))
        self._settle_one()

    def check(self) -> None:
        """Raises `SubmitError` unless all are accepted. Those without an answer by now may still be accepted."""
        unknown = self._unknown + [(job_id, "no answer in time") for job_id in list(self._waiting)]
        if self._not_accepted or unknown:
            raise SubmitError(self._not_accepted, unknown)

    def _delivered(self, job_id: str, error: KafkaError | None, _: Message) -> None:
        self._waiting.pop(job_id, None)
        if error:
            failed = self._unknown if error.code() in MAYBE_ACCEPTED else self._not_accepted
            failed.append((job_id, explain(error)))
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
            properties |= {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": round(ATOMIC_WITHIN_S * 1000),
                "delivery.timeout.ms": round(min(delivery_timeout_s, ATOMIC_WITHIN_S) * 1000),
            }
        self.producer = Producer(properties)

    def write(self, job: PreparedJob, receipt: Receipt) -> None:
        """Enqueue both records of a job. Blocks while the producer's buffer is full, until the receipt's deadline."""
        job_id = job.job_id.encode()
        request, event = job.shared.records(job_id, job.ordering_key, job.payload)
        if receipt.late:
            receipt.reject(job.job_id, "the time of the call was over before it could be sent")
            return
        try:
            on_delivery = receipt.watch(job.job_id)
            taken = self._produce(job.topic, request, job.ordering_key or job_id, on_delivery, receipt)
        except KafkaException as error:
            receipt.reject(job.job_id, explain(error))
            return
        if not taken:
            receipt.reject(job.job_id, "the producer's buffer was full until the time of the call was over")
            return
        with suppress(KafkaException):
            self._produce(self._events, event, job_id, None, receipt)

    def _produce(
        self, topic: str, value: bytes, key: bytes, on_delivery: DeliveryCallback | None, receipt: Receipt
    ) -> bool:
        """Returns False when the buffer was full until the receipt's deadline."""
        while True:
            try:
                self.producer.produce(topic, value, key, on_delivery=on_delivery)
                return True
            except BufferError:
                if receipt.late:
                    return False
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
