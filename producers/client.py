"""The synchronous client."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, Unpack

from confluent_kafka import KafkaException

from millstream.producers.delivery import ATOMIC_WITHIN_S, Receipt, Submission, SubmitError
from millstream.producers.preparation import Preparation, PreparedJob
from millstream.producers.request import MAX_PAYLOAD_BYTES, NewJob, NewJobFields
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.schemas.ids import new_id

INIT_CALL_S = 1.0
MARGIN_S = 0.5
"""How long a call of the transactional producer may take when the time of the call is nearly over."""


class JobClient:
    """Submits jobs and waits for Kafka's acknowledgement. Thread-safe; one a process is enough, made when the process
    starts: the first submission of a new client waits for its connection.

        with JobClient(KafkaConnection("localhost:9092")) as jobs:
            job_id = jobs.submit("reports.render", {"report": 7}, tenant="acme")

    `source` names the producing service in every event. `linger_ms`: how long a record may wait for more of its batch
    while others are enqueued; after the last one everything is sent at once. `delivery_timeout_s`: how long a call may
    take, however many jobs it submits, before it fails. A client that was made before a fork works in the child.
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
        self._delivery_timeout_s = delivery_timeout_s
        self._pid = os.getpid()
        self._submission = Submission(connection, self._topics, **self._options)
        self._atomic: Submission | None = None
        self._atomic_turn = threading.Lock()

    def submit(self, job_type: str, payload: Any = None, **fields: Unpack[NewJobFields]) -> str:
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

        All are validated before the first is sent. `atomic` writes them in one transaction, of five seconds at most:
        either every job is visible or none. `on_accepted` is called with how many were acknowledged so far. Raises
        `InvalidJob`, or `SubmitError` naming the jobs that Kafka did not accept.
        """
        prepared = self._preparation.prepare(jobs)
        self._after_fork()
        if self._submission.ended:
            self._submission = Submission(self._connection, self._topics, **self._options)
        deadline = time.monotonic() + self._delivery_timeout_s
        try:
            if atomic:
                return self._submit_atomically(prepared, deadline)
            self._submission.connect()
            return _deliver(
                self._submission,
                prepared,
                Receipt(len(prepared), deadline, explain=self._submission.explain),
                on_accepted,
            )
        except SubmitError as error:
            self._preparation.release(prepared, {job_id for job_id, _ in error.not_accepted})
            raise

    @property
    def events_problem(self) -> str:
        """Why `submitted` events are not accepted, as far as known: their jobs are, and are seen from their start on
        only. Empty while they are."""
        return self._submission.events_problem

    def close(self) -> None:
        """Wait until every submitted job is acknowledged or has failed."""
        if self._pid != os.getpid():
            return
        for submission in (self._submission, self._atomic):
            if submission:
                submission.serve(submission.producer.flush, -1)

    def _submit_atomically(self, jobs: list[PreparedJob], deadline: float) -> list[str]:
        with self._atomic_turn:
            atomic = self._open_atomic(jobs, deadline)
            producer = atomic.producer
            # An open transaction holds back other readers of the lanes, however long the caller would wait.
            within_s = min(deadline, time.monotonic() + ATOMIC_WITHIN_S - MARGIN_S)
            receipt = Receipt(len(jobs), within_s, explain=atomic.explain)
            try:
                producer.begin_transaction()
            except KafkaException as error:
                # It has failed for good since the last call, such as for want of a right; the next call opens another.
                self._atomic = None
                atomic.serve(producer.poll, 0)
                raise SubmitError([(job.job_id, atomic.explain(error)) for job in jobs]) from error
            try:
                _deliver(atomic, jobs, receipt, None)
            except SubmitError as error:
                self._abandon_transaction(deadline)
                # Nothing of an aborted transaction is visible, whatever became of its records.
                written = dict.fromkeys([*(job.topic for job in jobs), self._topics.events])
                reason = ("" if receipt.late else atomic.denied(written)) or error.failed[0][1]
                told = f"{reason}; an atomic call is accepted whole within {ATOMIC_WITHIN_S:g} s, or not at all"
                raise SubmitError([(job.job_id, told) for job in jobs]) from error
            try:
                producer.commit_transaction(max(MARGIN_S, deadline - time.monotonic()))
            except KafkaException as error:
                maybe = error.args[0].retriable()
                self._abandon_transaction(deadline)
                reason = atomic.events_problem or atomic.explain(error)
                failed = [(job.job_id, reason) for job in jobs]
                raise (SubmitError([], failed) if maybe else SubmitError(failed)) from error
            return [job.job_id for job in jobs]

    def _open_atomic(self, jobs: list[PreparedJob], deadline: float) -> Submission:
        if self._atomic is None:
            name = f"{self._topics.prefix}producer-{new_id()}"
            atomic = Submission(self._connection, self._topics, **self._options, transactional_id=name)
            try:
                self._init_transactions(atomic, deadline)
            except KafkaException as error:
                raise SubmitError([(job.job_id, atomic.explain(error)) for job in jobs]) from error
            self._atomic = atomic
        self._atomic.watch_events()
        return self._atomic

    @staticmethod
    def _init_transactions(atomic: Submission, deadline: float) -> None:
        """Raises `KafkaException` at the deadline, and as soon as the brokers reject the client."""
        while True:
            left_s = max(MARGIN_S, deadline - time.monotonic())
            try:
                atomic.producer.init_transactions(min(INIT_CALL_S, left_s))
                return
            except KafkaException as error:
                # What the client notices by itself it tells while it is polled.
                atomic.serve(atomic.producer.poll, 0)
                if not error.args[0].retriable() or left_s <= MARGIN_S or atomic.rejected:
                    raise

    def _abandon_transaction(self, deadline: float) -> None:
        assert self._atomic is not None
        try:
            self._atomic.producer.abort_transaction(max(MARGIN_S, deadline - time.monotonic()))
        except KafkaException:
            # The broker aborts it at its timeout; the next one gets a new producer.
            self._atomic = None

    def _after_fork(self) -> None:
        """A producer does not outlive a fork: its threads are in the parent only. The child gets its own."""
        if self._pid != os.getpid():
            # Destroying the parent's would wait for those threads.
            _of_parents.append((self._submission, self._atomic))
            self._pid = os.getpid()
            self._submission = Submission(self._connection, self._topics, **self._options)
            self._atomic = None
            self._atomic_turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_of_parents: list[object] = []
"""Producers of the process that this one was forked from."""


def _deliver(
    submission: Submission, jobs: list[PreparedJob], receipt: Receipt, on_accepted: Callable[[int], None] | None
) -> list[str]:
    producer = submission.producer
    for number, job in enumerate(jobs):
        submission.write(job, receipt)
        if number % 500 == 0:
            submission.serve(producer.poll, 0)
            if on_accepted:
                on_accepted(receipt.accepted)
    while not receipt.done and not receipt.late:
        # Unlike polling, flushing sends lingering records at once. It also waits for other threads' jobs, so not for
        # long.
        submission.serve(producer.flush, 0.01)
        if on_accepted:
            on_accepted(receipt.accepted)
    receipt.check()
    return [job.job_id for job in jobs]
