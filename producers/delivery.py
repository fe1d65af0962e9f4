"""What the two clients share: the Kafka producer, the two records of a submission, and delivery errors."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream.producers.error_text import ErrorText
from millstream.producers.preparation import PreparedJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.schemas.denial import DENIED, rejection
from millstream.schemas.fatal_error import kafka_error

log = logging.getLogger(__name__)

NOT_SEEN = "jobs are accepted, and not seen before they start"

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
Explain = Callable[[KafkaError, str], str]
"""Makes a sentence of an error, given the topic."""

REJECTED_FOR_S = 1.0
"""How long the brokers must have rejected a new client before what it was given fails: another one may let it in."""

CONNECT_WITHIN_S = 0.5
WATCH_INTERVAL_S = 10.0
"""How often a client finds out whether its `submitted` events are accepted."""

TELL_INTERVAL_S = 60.0
METADATA_WITHIN_S = 1.0


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
    seconds of the monotonic clock. `explain`: of the producer that sends them.
    """

    def __init__(
        self,
        jobs: int,
        deadline: float = math.inf,
        when_done: Callable[[], None] | None = None,
        explain: Explain | None = None,
    ) -> None:
        self._explain = explain or ErrorText()
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

    def _delivered(self, job_id: str, error: KafkaError | None, message: Message) -> None:
        self._waiting.pop(job_id, None)
        if error:
            failed = self._unknown if error.code() in MAYBE_ACCEPTED else self._not_accepted
            failed.append((job_id, self._explain(error, message.topic() or "")))
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
        self.explain = ErrorText(connection.user, transactional_id or "")
        self.events_problem = ""
        """Why `submitted` events are not accepted, as far as known; empty while they are."""
        self.ended = False
        """Whether the producer has failed for good, so that another one is needed."""
        self._connected = False
        self._accepted = False
        self._rejected_since: float | None = None
        self._watch_at = self._tell_at = float("-inf")
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
        self.producer = Producer({**properties, "error_cb": self._on_error})

    def connect(self) -> None:
        """Wait for a broker, the first time only, and at most for `CONNECT_WITHIN_S` seconds: what an idempotent
        producer is given before it has a connection it sends half a second later. Blocks."""
        if self._connected:
            return
        self._connected = True
        with suppress(KafkaException):
            self.producer.list_topics(self._events, CONNECT_WITHIN_S)

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
            receipt.reject(job.job_id, self.explain(error, job.topic))
            return
        if not taken:
            receipt.reject(job.job_id, "the producer's buffer was full until the time of the call was over")
            return
        # Each callback costs time, and whoever may write one event may write the next.
        now = time.monotonic()
        watched = now >= self._watch_at
        if watched:
            self._watch_at = now + WATCH_INTERVAL_S
        try:
            self._produce(self._events, event, job_id, self._event_delivered if watched else None, receipt)
        except KafkaException as error:
            # A client that knows its topic is refused at once, and hears of no delivery.
            self._note_event(error.args[0])

    def serve(self, wait: Callable[[float], int], timeout_s: float) -> None:
        """Wait for deliveries with `poll` or `flush` of the producer."""
        try:
            wait(timeout_s)
        except (KafkaException, SystemError) as error:
            self._on_error(kafka_error(error).args[0])

    def watch_events(self) -> None:
        """Find out whether the next `submitted` event is accepted."""
        self._watch_at = float("-inf")

    def denied(self, topics: Iterable[str]) -> str:
        """Why one of these topics cannot be written, when that is a right which the user lacks: of an aborted
        transaction the client does not tell the topic. Empty when there is none, or no broker tells."""
        for topic in topics:
            try:
                error = self.producer.list_topics(topic, METADATA_WITHIN_S).topics[topic].error
            except KafkaException:
                return ""
            if error is not None and error.code() in DENIED:
                return self.explain(error, topic)
        return ""

    @property
    def rejected(self) -> bool:
        """Whether the brokers have not let this client in since it was made, and for long enough to say so."""
        since = self._rejected_since
        return not self._accepted and since is not None and time.monotonic() - since >= REJECTED_FOR_S

    def _event_delivered(self, error: KafkaError | None, _: Message) -> None:
        self._note_event(error)

    def _note_event(self, error: KafkaError | None) -> None:
        self._accepted = self._accepted or error is None
        if error is not None and error.code() not in DENIED:
            # Whatever else it is, the request beside it tells of it too.
            return
        self.events_problem = self.explain(error, self._events) if error is not None else ""
        now = time.monotonic()
        if error is not None and now >= self._tell_at:
            self._tell_at = now + TELL_INTERVAL_S
            log.warning("submitted_events_lost: %s: %s", self.events_problem, NOT_SEEN)

    def _on_error(self, error: KafkaError) -> None:
        """What the client notices by itself. The threads that poll call it."""
        if error.fatal():
            self.ended = True
            if error.code() in DENIED:
                self.explain.denied = error
        if reason := rejection(error):
            self.explain.rejection = reason
            self._rejected_since = self._rejected_since or time.monotonic()
            # One that was let in before is so again, perhaps: its password or certificate is being replaced.
            if self.rejected:
                self.producer.purge(in_queue=True, in_flight=False, blocking=False)

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
