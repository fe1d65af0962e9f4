"""Whose code runs: the attempt that a task or a thread works for, which what they start inherits."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from millstream.consumers.worker.execution.started_work import StartedWork


class Attempt(Protocol):
    """What CPU time is counted for, in nanoseconds. `started`: what it uses outside its own steps, if anything."""

    cpu_ns: int
    started: StartedWork | None


current_attempt: ContextVar[Attempt | None] = ContextVar("current_attempt")


class LoggedJob:
    """The job that a child process runs; the child counts its CPU time itself."""

    cpu_ns = 0
    started: StartedWork | None = None

    def __init__(self, log_fields: Mapping[str, object]) -> None:
        self.log_fields = log_fields


def job_fields() -> Mapping[str, object]:
    """The fields of log lines that name the job whose code runs; none outside of one."""
    fields: Mapping[str, object] = getattr(current_attempt.get(None), "log_fields", {})
    return fields
