"""Clients without Kafka: they record what is submitted, and run it on request."""

import contextlib
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from millstream.consumers.worker.execution.registry import JobTypes, registered
from millstream.consumers.worker.outcomes.retries import RetryPolicy
from millstream.extras import importing
from millstream.producers import AsyncJobClient, JobClient, NewJob, SubmitError
from millstream.producers.preparation import Preparation, PreparedJob
from millstream.producers.request import MAX_PAYLOAD_BYTES
from millstream.schemas import Codec, DeadReason, JobRequest, TopicCatalogue
from millstream.testing.blocking import blocking
from millstream.testing.result import HandlerResult

MAX_EXECUTIONS = 1_000
RETRIES = RetryPolicy()


class EndlessSubmissions(RuntimeError):
    """More executions in one run than `max_executions`: usually a handler that submits its own job type."""


@dataclass(eq=False)
class SubmittedJob:
    """A job that an in-memory client has accepted. `attempts`: the results of its attempts so far, first to last."""

    request: JobRequest
    attempts: list[HandlerResult] = field(default_factory=list)
    pending: bool = True

    @property
    def job_id(self) -> str:
        return self.request.job_id

    @property
    def job_type(self) -> str:
        return self.request.job_type

    @property
    def tenant(self) -> str:
        return self.request.tenant

    @property
    def payload(self) -> Any:
        """The payload as it was written, read from JSON again; `bytes` where the producer submitted bytes."""
        if self.request.content_type != "application/json":
            return self.request.payload
        return json.loads(self.request.payload)

    @property
    def result(self) -> HandlerResult:
        """The last attempt. Raises AssertionError when there was none: call `run_pending()` first."""
        if not self.attempts:
            raise AssertionError(f"{self!r} has not run")
        return self.attempts[-1]

    @property
    def dead_letter(self) -> DeadReason | None:
        """Why the job was dead-lettered; None when it was not."""
        if self.pending or not RETRIES.gives_up(self.result.outcome, self.request):
            return None
        return self.result.reason

    def __repr__(self) -> str:
        state = "pending" if self.pending else self.result.kind.value
        return f"<{self.job_type} of {self.tenant}, {state}, payload {self.request.payload[:80]!r}>"


class InMemoryClient(JobClient):
    """A `JobClient` without Kafka: records jobs, and runs them on request. Any thread may submit; one runs the jobs.

    Jobs are validated by the code of `JobClient`. `jobs` are the handlers. `eager`: each job runs before `submit`
    returns. `max_executions`: how many attempts one run may have, which bounds handlers that submit jobs without end.
    `topics`, `source` and `max_payload_bytes` as of `JobClient`. `submitted` are the accepted jobs, in order.
    """

    def __init__(
        self,
        jobs: JobTypes = registered,
        *,
        eager: bool = False,
        max_executions: int = MAX_EXECUTIONS,
        topics: TopicCatalogue | None = None,
        source: str = "",
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        # JobClient's own __init__ would create a Kafka producer.
        self.submitted: list[SubmittedJob] = []
        self._jobs = jobs
        self.eager = eager
        self._max_executions = max_executions
        self._codec = Codec()
        self._preparation = Preparation(topics or TopicCatalogue(), self._codec, source, max_payload_bytes)
        self._queue: deque[SubmittedJob] = deque()
        self._lock = threading.Lock()
        self._rejecting = ""
        self.running = False

    def submit_many(
        self,
        jobs: Iterable[NewJob],
        *,
        atomic: bool = False,
        on_accepted: Callable[[int], None] | None = None,
    ) -> list[str]:
        """As `JobClient.submit_many`; all jobs are recorded or none, `atomic` or not."""
        ids = self.accept(jobs, on_accepted)
        if self.eager and not self.running:
            self.run_pending()
        return ids

    def accept(self, jobs: Iterable[NewJob], on_accepted: Callable[[int], None] | None = None) -> list[str]:
        """Check and record jobs without running any, all or none of them. Returns their ids. Raises `InvalidJob`, or
        `SubmitError` within `rejecting`."""
        prepared = self._preparation.prepare(jobs)
        if self._rejecting and prepared:
            self._preparation.release(prepared)
            raise SubmitError([(job.job_id, self._rejecting) for job in prepared])
        accepted = [SubmittedJob(self._as_read(job)) for job in prepared]
        with self._lock:
            self.submitted.extend(accepted)
            self._queue.extend(accepted)
        if on_accepted:
            on_accepted(len(accepted))
        return [job.job_id for job in accepted]

    def close(self) -> None:
        """Nothing: no job is on its way."""

    @contextlib.contextmanager
    def rejecting(self, reason: str = "no broker acknowledged it in time") -> Iterator[None]:
        """Within this context each submission raises `SubmitError`, as when Kafka cannot be reached."""
        self._rejecting = reason
        try:
            yield
        finally:
            self._rejecting = ""

    def jobs(
        self, job_type: str | None = None, *, tenant: str | None = None, lane: str | None = None
    ) -> list[SubmittedJob]:
        """The accepted jobs of this type, tenant and lane (any where None), in order of submission."""
        return [
            job
            for job in self.submitted
            if job_type in (None, job.job_type) and tenant in (None, job.tenant) and lane in (None, job.request.lane)
        ]

    def job(self, job_id: str) -> SubmittedJob:
        """The job with this id. Raises LookupError."""
        for job in self.submitted:
            if job.job_id == job_id:
                return job
        raise LookupError(f"no job {job_id} was submitted to this client")

    @property
    def pending(self) -> list[SubmittedJob]:
        """Jobs that have not ended."""
        return [job for job in self.submitted if job.pending]

    @property
    def dead_letters(self) -> list[SubmittedJob]:
        """Jobs that failed or timed out and have no attempt left."""
        return [job for job in self.submitted if job.dead_letter is not None]

    def run_pending(self) -> list[SubmittedJob]:
        """Run what was submitted, with retries up to `max_attempts` and with the jobs that handlers submit meanwhile.

        One attempt at a time, in order of submission, so jobs of one ordering key follow each other. A retry goes
        behind what waits, as it does on a lane; backoff is not waited for. Returns the jobs that ended, in the order of
        their ends. Blocks; raises `EndlessSubmissions`.
        """
        return blocking(self.run_pending_async())

    async def run_pending_async(self) -> list[SubmittedJob]:
        """As `run_pending`, on the running event loop."""
        if self.running:
            raise RuntimeError("run_pending was called by a handler: the run that started the handler goes on anyway")
        self.running = True
        try:
            return await self._run_queue()
        finally:
            self.running = False

    async def _run_queue(self) -> list[SubmittedJob]:
        # Recording submissions needs no worker.
        with importing():
            from millstream.testing.local_attempt import LocalAttempt
        ended = []
        run: Counter[str] = Counter()
        while self._queue:
            if run.total() >= self._max_executions:
                raise EndlessSubmissions(
                    f"{run.total():,} attempts in one run and {len(self._queue):,} jobs still wait; it ran "
                    + ", ".join(f"{job_type} {times:,} times" for job_type, times in run.most_common(3))
                    + ". Does a handler submit its own job type? max_executions raises the limit."
                )
            job = self._queue.popleft()
            run[job.job_type] += 1
            result = await LocalAttempt(job.request).run(self._jobs.get(job.job_type), self._jobs)
            job.attempts.append(result)
            if RETRIES.next_delay_s(result.outcome, job.request) is None:
                job.pending = False
                ended.append(job)
            else:
                job.request = job.request.model_copy(update={"attempt": job.request.attempt + 1})
                self._queue.append(job)
        return ended

    def _as_read(self, job: PreparedJob) -> JobRequest:
        """The request as a worker reads it from the record's bytes."""
        value, _ = job.shared.records(job.job_id.encode(), job.ordering_key, job.payload)
        return self._codec.decode(value, JobRequest)


class InMemoryAsyncClient(AsyncJobClient):
    """An `AsyncJobClient` on the record of an `InMemoryClient`: query and run the jobs there."""

    def __init__(self, client: InMemoryClient) -> None:
        # AsyncJobClient's own __init__ would create a Kafka producer and a thread.
        self.client = client

    async def submit_many(self, jobs: Iterable[NewJob]) -> list[str]:
        """As `AsyncJobClient.submit_many`. An eager client runs the jobs on the running event loop."""
        ids = self.client.accept(jobs)
        if self.client.eager and not self.client.running:
            await self.client.run_pending_async()
        return ids

    async def close(self) -> None:
        """Nothing: no job is on its way."""
