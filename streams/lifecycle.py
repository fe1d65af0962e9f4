"""The life of a job as a pure function: (state, events) -> (state, findings).

Events may arrive twice and in any order; the resulting state is the same. What counts is not when an event arrived but
what it contains: a later attempt outranks an earlier one, within an attempt the outcome outranks the start, and the
final outcome outranks everything. The state is derived: nothing is executed or stored because of it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from millstream.schemas import OUTCOMES, EventKind, JobEvent, JobState, State

MAX_MARKS = 64
"""Marks of applied events that a state keeps. They protect only the counters: when the oldest of a job with very
many attempts are dropped, a start may be counted twice, nothing else."""

MAX_TEXT = 2_000
"""Characters of a progress message that a state keeps: an event may carry megabytes, a state must stay small."""

_RANKS = {State.SUBMITTED: 0, State.SCHEDULED: 1, State.RUNNING: 2, State.RETRYING: 3}
_STATES = {
    EventKind.SUBMITTED: State.SUBMITTED,
    EventKind.SCHEDULED: State.SCHEDULED,
    EventKind.STARTED: State.RUNNING,
    EventKind.PROGRESS: State.RUNNING,
    EventKind.RETRY_SCHEDULED: State.RETRYING,
}
_FINAL_STATES = {
    EventKind.SUCCEEDED: State.SUCCEEDED,
    EventKind.FAILED: State.FAILED,
    EventKind.TIMED_OUT: State.TIMED_OUT,
    EventKind.CANCELLED: State.CANCELLED,
}


_DEFAULTS = {name: field.default for name, field in JobState.model_fields.items() if field.default_factory is None}


class LifecycleFinding(NamedTuple):
    """An inconsistency in a job's events. `kind` is a constant name."""

    kind: str
    job_id: str
    detail: str


def apply(state: JobState | None, events: Iterable[JobEvent]) -> tuple[JobState, list[LifecycleFinding]]:
    """The state after these events of one job, and the inconsistencies found. `events` must not be empty when there is
    no state yet."""
    findings: list[LifecycleFinding] = []
    fields: dict[str, Any] = {} if state is None else dict(state.__dict__)
    for event in events:
        if not fields:
            fields = _first(event)
        _apply_one(fields, event, findings)
    fields["applied"] = fields["applied"][-MAX_MARKS:]
    return JobState.model_construct(**fields), findings


def _first(event: JobEvent) -> dict[str, Any]:
    """A state with only what every event of the job contains."""
    return {
        **_DEFAULTS,
        "applied": [],
        "job_id": event.job_id,
        "tenant": event.tenant,
        "job_type": event.job_type,
        "lane": event.lane,
        "submitted_at": event.submitted_at,
        "labels": event.labels,
        "state": State.SUBMITTED,
        "updated_at": event.occurred_at,
    }


def _apply_one(fields: dict[str, Any], event: JobEvent, findings: list[LifecycleFinding]) -> None:
    fields["updated_at"] = max(fields["updated_at"], event.occurred_at)
    if event.execution_id:
        _note_execution(fields, event)
    if event.kind in OUTCOMES:
        _note_outcome(fields, event, findings)
    elif event.kind is EventKind.PROGRESS:
        _note_progress(fields, event)
    target = _STATES.get(event.kind)
    if target and not fields["state"].terminal:
        here = (fields["attempt"], _RANKS[fields["state"]])
        if (event.attempt, _RANKS[target]) > here:
            fields["state"], fields["attempt"] = target, event.attempt


def _note_execution(fields: dict[str, Any], event: JobEvent) -> None:
    """Every event of an execution carries its start; the newest execution is the one shown."""
    mark = f"{event.attempt}:{event.execution_id}"
    if mark not in fields["applied"]:
        fields["applied"] = [*fields["applied"], mark]
        fields["executions"] += 1
    if event.started_at is None or event.execution_id == fields["execution_id"]:
        return
    shown = fields["execution_id"]
    newest = (event.attempt, event.started_at, event.execution_id)
    if shown is None or newest > (_attempt_of(shown, fields), fields["started_at"], shown):
        fields["started_at"], fields["execution_id"] = event.started_at, event.execution_id
        fields["worker_id"], fields["host"], fields["wait_ms"] = event.worker_id, event.host, event.wait_ms
        fields["progress"], fields["message"] = None, ""
        if not fields["state"].terminal and (event.attempt, _RANKS[State.RUNNING]) > (
            fields["attempt"],
            _RANKS[fields["state"]],
        ):
            fields["state"], fields["attempt"] = State.RUNNING, event.attempt


def _note_progress(fields: dict[str, Any], event: JobEvent) -> None:
    reported = (event.progress or 0.0, event.message[:MAX_TEXT])
    if event.execution_id == fields["execution_id"] and reported > (fields["progress"] or -1.0, fields["message"]):
        fields["progress"], fields["message"] = reported


def _note_outcome(fields: dict[str, Any], event: JobEvent, findings: list[LifecycleFinding]) -> None:
    mark = f"{event.attempt}={event.event_id}"
    if mark in fields["applied"]:
        return
    earlier = [int(attempt) for attempt, sign, _ in (each.partition("=") for each in fields["applied"]) if sign]
    if event.attempt in earlier:
        findings.append(
            LifecycleFinding("duplicate_outcome", event.job_id, f"attempt {event.attempt} has another {event.kind}")
        )
    else:
        fields["outcomes"] += 1
    fields["applied"] = [*fields["applied"], mark]
    if fields["state"].terminal:
        return
    if event.final:
        fields["state"], fields["attempt"] = _FINAL_STATES[event.kind], event.attempt
        fields["finished_at"] = event.occurred_at
    elif (event.attempt, _RANKS[State.RETRYING]) > (fields["attempt"], _RANKS[fields["state"]]):
        fields["state"], fields["attempt"] = State.RETRYING, event.attempt
    if event.final or event.attempt > max(earlier, default=-1):
        fields["run_ms"] = event.run_ms
        fields["error_type"], fields["error_message"] = event.error_type, event.error_message


def _attempt_of(execution_id: str, fields: dict[str, Any]) -> int:
    """The attempt that an execution belonged to, by its mark; 0 when the mark was dropped."""
    marks = (each.partition(":") for each in fields["applied"])
    return next((int(attempt) for attempt, _, execution in marks if execution == execution_id), 0)
