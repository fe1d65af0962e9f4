"""Running one handler with one payload."""

from collections.abc import Callable
from typing import Any, Unpack

from millstream.consumers.worker.execution.registry import JobType, JobTypes, describe, registered
from millstream.producers import NewJob
from millstream.producers.request import JobFields
from millstream.schemas import JobRequest
from millstream.testing.blocking import blocking
from millstream.testing.context import RecordingContext
from millstream.testing.local_attempt import LocalAttempt
from millstream.testing.result import HandlerResult


def fake_context(
    job_type: str = "test", payload: Any = None, *, attempt: int = 1, **fields: Unpack[JobFields]
) -> RecordingContext:
    """A context to call a handler with directly: `render(Report(report=7), fake_context(tenant="acme"))`.

    `fields` are those of `NewJob`. Set `cancelled` to see what the handler does then. Raises `InvalidJob`.
    """
    request = _request(NewJob(job_type, payload, **fields), attempt)
    return RecordingContext(request)


def run_handler(
    handler: Callable[..., Any] | str | JobType,
    payload: Any = None,
    *,
    attempt: int = 1,
    jobs: JobTypes = registered,
    cancel_after_s: float | None = None,
    cancel_at_progress: float | None = None,
    **fields: Unpack[JobFields],
) -> HandlerResult:
    """Run one attempt of a job and return its outcome. What the handler raises is in the result, it is not raised.

    `handler`: the function, or the name of a job type in `jobs`. A function that `jobs` holds has the limits of its
    `@job`; any other function has none. `payload` is what a producer would submit; `bytes` are passed as they are.
    `fields` are those of `NewJob`: `tenant`, `deadline`, `timeout_s`, `max_attempts`, `labels`, ...

    `cancel_after_s` cancels the job after so many seconds (0: before it starts), `cancel_at_progress` as soon as the
    handler reports this progress.

    Blocks until the attempt has ended. An `async def` runs on an event loop of its own; in a test that has a loop, use
    `run_handler_async` for handlers that need this loop. A plain function runs in a thread, one with
    `runs_on="process"` too: a crash is then the test's, and `memory_limit_mb` is not checked. Raises `InvalidJob` for a
    job that no client would submit, LookupError for a name that `jobs` does not hold.
    """
    return blocking(
        run_handler_async(
            handler,
            payload,
            attempt=attempt,
            jobs=jobs,
            cancel_after_s=cancel_after_s,
            cancel_at_progress=cancel_at_progress,
            **fields,
        )
    )


async def run_handler_async(
    handler: Callable[..., Any] | str | JobType,
    payload: Any = None,
    *,
    attempt: int = 1,
    jobs: JobTypes = registered,
    cancel_after_s: float | None = None,
    cancel_at_progress: float | None = None,
    **fields: Unpack[JobFields],
) -> HandlerResult:
    """As `run_handler`, on the running event loop."""
    job_type = _job_type(handler, jobs)
    request = _request(NewJob(job_type.name, payload, **fields), attempt)
    return await LocalAttempt(request, cancel_after_s, cancel_at_progress).run(job_type)


def _job_type(handler: Callable[..., Any] | str | JobType, jobs: JobTypes) -> JobType:
    if isinstance(handler, JobType):
        return handler
    if isinstance(handler, str):
        if (found := jobs.get(handler)) is None:
            known = ", ".join(sorted(each.name for each in jobs)) or "none"
            raise LookupError(f"no handler for job type {handler!r}; there are: {known}")
        return found
    for each in jobs:
        if each.handler is handler:
            return each
    return describe(getattr(handler, "__name__", "").strip("_<>") or "handler", handler)


def _request(job: NewJob, attempt: int) -> JobRequest:
    request = job.request()
    return request.model_copy(update={"attempt": attempt, "max_attempts": max(attempt, request.max_attempts)})
