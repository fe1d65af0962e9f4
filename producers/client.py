"""The synchronous client."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message

from millstream.producers.delivery import Submission, SubmitError, explain
from millstream.producers.request import MAX_PAYLOAD_BYTES, NewJob
from millstream.schemas import Codec, JobRequest, KafkaConnection, TopicCatalogue
from millstream.schemas.models import new_id


class JobClient:
    """Submits jobs and waits for Kafka's acknowledgement. Thread-safe; one a process is enough.

        with JobClient(KafkaConnection("localhost:9092")) as jobs:
            job_id = jobs.submit("reports.render", {"report": 7}, tenant="acme")

    `source` names the producing service in every event. `linger_ms` is how long a record may wait for company in a
    batch. `delivery_timeout_s` is how long Kafka may take to acknowledge before a submit fails.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue | None = None,
        codec: Codec | None = None,
        *,
        source: str = "",
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        linger_ms: float = 1.0,
        delivery_timeout_s: float = 30.0,
    ) -> None:
        self._connection = connection
        self._topics = topics or TopicCatalogue()
        self._codec = codec or Codec()
        self._source = source
        self._max_payload_bytes = max_payload_bytes
        self._options: dict[str, Any] = {"linger_ms": linger_ms, "delivery_timeout_s": delivery_timeout_s}
        self._submission = Submission(connection, self._topics, self._codec, **self._options)
        self._atomic: Submission | None = None
        self._atomic_turn = threading.Lock()

    def submit(self, job_type: str, payload: Any = None, **fields: Any) -> str:
        """Submit one job and return its id once Kafka has acknowledged it.

        `fields` are those of `NewJob` (tenant, lane, ordering_key, labels, deadline, ...). Raises `InvalidJob` before
        anything is sent, `SubmitError` when Kafka does not take it.
        """
        return self.submit_many([NewJob(job_type, payload, **fields)])[0]

    def submit_many(
        self,
        jobs: Iterable[NewJob],
        *,
        atomic: bool = False,
        on_accepted: Callable[[int], None] | None = None,
    ) -> list[str]:
        """Submit many jobs and return their ids, in order, once all are acknowledged.

        All are validated before the first is sent. `atomic` writes them in one transaction: either every job is
        visible or none. `on_accepted` is told how many were acknowledged so far. Raises `InvalidJob`, or
        `SubmitError` naming the jobs that Kafka did not take.
        """
        requests = [job.request(self._source, self._max_payload_bytes, self._topics.lanes) for job in jobs]
        if atomic:
            return self._submit_atomically(requests)
        return _deliver(self._submission, requests, on_accepted)

    def close(self) -> None:
        """Wait for what is still on its way."""
        for submission in (self._submission, self._atomic):
            if submission:
                submission.producer.flush()

    def _submit_atomically(self, requests: list[JobRequest]) -> list[str]:
        with self._atomic_turn:
            if self._atomic is None:
                name = f"{self._topics.prefix}producer-{new_id()}"
                atomic = Submission(self._connection, self._topics, self._codec, **self._options, transactional_id=name)
                _transactionally(lambda: atomic.producer.init_transactions(30), requests)
                self._atomic = atomic
            producer = self._atomic.producer
            producer.begin_transaction()
            try:
                ids = _deliver(self._atomic, requests, None)
                producer.commit_transaction(60)
            except (SubmitError, KafkaException) as error:
                self._abandon_transaction()
                if isinstance(error, SubmitError):
                    raise
                raise SubmitError([(request.job_id, explain(error)) for request in requests]) from error
            return ids

    def _abandon_transaction(self) -> None:
        assert self._atomic is not None
        try:
            self._atomic.producer.abort_transaction(30)
        except KafkaException:
            # The broker aborts it at its timeout; a new producer starts the next one.
            self._atomic = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _deliver(
    submission: Submission, requests: list[JobRequest], on_accepted: Callable[[int], None] | None
) -> list[str]:
    failed: list[tuple[str, str]] = []
    accepted = 0
    producer = submission.producer

    def watch(job_id: str) -> Callable[[KafkaError | None, Message], None]:
        def delivered(error: KafkaError | None, _: Message) -> None:
            nonlocal accepted
            if error:
                failed.append((job_id, explain(error)))
            else:
                accepted += 1

        return delivered

    for number, request in enumerate(requests):
        try:
            submission.write(request, watch(request.job_id))
        except KafkaException as error:
            failed.append((request.job_id, explain(error)))
        if number % 500 == 0:
            producer.poll(0)
            if on_accepted:
                on_accepted(accepted)
    while accepted + len(failed) < len(requests):
        producer.poll(0.05)
        if on_accepted:
            on_accepted(accepted)
    if failed:
        raise SubmitError(failed)
    return [request.job_id for request in requests]


def _transactionally(call: Callable[[], None], requests: list[JobRequest]) -> None:
    try:
        call()
    except KafkaException as error:
        raise SubmitError([(request.job_id, explain(error)) for request in requests]) from error
