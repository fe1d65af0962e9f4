"""The synchronous client."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException

from millstream.producers.delivery import Receipt, Submission, SubmitError, explain
from millstream.producers.preparation import Preparation, PreparedJob
from millstream.producers.request import MAX_PAYLOAD_BYTES, NewJob
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.schemas.ids import new_id


class JobClient:
    """Submits jobs and waits for Kafka's acknowledgement. Thread-safe; one a process is enough, made when the process
    starts: the first submission of a new client may take half a second, until the broker has given it a producer id.

        with JobClient(KafkaConnection("localhost:9092")) as jobs:
            job_id = jobs.submit("reports.render", {"report": 7}, tenant="acme")

    `source` names the producing service in every event. `linger_ms`: how long a record may wait for more of its
    batch while others are enqueued; after the last one everything is sent at once. `delivery_timeout_s` is how long
    Kafka may take to acknowledge before a submit fails.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue | None = None,
        codec: Codec | None = None,
        *,
        source: str = "",
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        linger_ms: float = 5.0,
        delivery_timeout_s: float = 30.0,
    ) -> None:
        self._connection = connection
        self._topics = topics or TopicCatalogue()
        self._preparation = Preparation(self._topics, codec or Codec(), source, max_payload_bytes)
        self._options: dict[str, Any] = {"linger_ms": linger_ms, "delivery_timeout_s": delivery_timeout_s}
        self._submission = Submission(connection, self._topics, **self._options)
        self._atomic: Submission | None = None
        self._atomic_turn = threading.Lock()

    def submit(self, job_type: str, payload: Any = None, **fields: Any) -> str:
        """Submit one job and return its id once Kafka has acknowledged it.

        `fields` are those of `NewJob` (tenant, lane, ordering_key, labels, deadline, ...). Raises `InvalidJob` before
        anything is sent, `SubmitError` when Kafka does not accept it.
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
        visible or none. `on_accepted` is called with how many were acknowledged so far. Raises
        `InvalidJob`, or `SubmitError` naming the jobs that Kafka did not accept.
        """
        prepared = self._preparation.prepare(jobs)
        if atomic:
            return self._submit_atomically(prepared)
        return _deliver(self._submission, prepared, on_accepted)

    def close(self) -> None:
        """Wait until every submitted job is acknowledged or has failed."""
        for submission in (self._submission, self._atomic):
            if submission:
                submission.producer.flush()

    def _submit_atomically(self, jobs: list[PreparedJob]) -> list[str]:
        with self._atomic_turn:
            if self._atomic is None:
                name = f"{self._topics.prefix}producer-{new_id()}"
                atomic = Submission(self._connection, self._topics, **self._options, transactional_id=name)
                _transactionally(lambda: atomic.producer.init_transactions(30), jobs)
                self._atomic = atomic
            producer = self._atomic.producer
            producer.begin_transaction()
            try:
                ids = _deliver(self._atomic, jobs, None)
                producer.commit_transaction(60)
            except (SubmitError, KafkaException) as error:
                self._abandon_transaction()
                if isinstance(error, SubmitError):
                    raise
                raise SubmitError([(job.job_id, explain(error)) for job in jobs]) from error
            return ids

    def _abandon_transaction(self) -> None:
        assert self._atomic is not None
        try:
            self._atomic.producer.abort_transaction(30)
        except KafkaException:
            # The broker aborts it at its timeout; the next one gets a new producer.
            self._atomic = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _deliver(submission: Submission, jobs: list[PreparedJob], on_accepted: Callable[[int], None] | None) -> list[str]:
    receipt = Receipt(len(jobs))
    producer = submission.producer
    for number, job in enumerate(jobs):
        submission.write(job, receipt)
        if number % 500 == 0:
            producer.poll(0)
            if on_accepted:
                on_accepted(receipt.accepted)
    while not receipt.done:
        # Unlike polling, flushing sends lingering records at once. It also waits for other threads' jobs, so not for
        # long.
        producer.flush(0.01)
        if on_accepted:
            on_accepted(receipt.accepted)
    if receipt.failed:
        raise SubmitError(receipt.failed)
    return [job.job_id for job in jobs]


def _transactionally(call: Callable[[], None], jobs: list[PreparedJob]) -> None:
    try:
        call()
    except KafkaException as error:
        raise SubmitError([(job.job_id, explain(error)) for job in jobs]) from error
