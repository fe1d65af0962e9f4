"""The life of a job as a pure function: (state, events) -> (state, findings).

Events may arrive twice and in any order; the resulting state is the same. What counts is not when an event arrived but
what it contains: a later attempt outranks an earlier one, within an attempt the outcome outranks the start, and the
final outcome outranks everything. The state is derived: nothing is executed or stored because of it.

A job that is submitted again under its id has another `submitted_at`, which every event of that submission carries. The
state is that of the latest submission; what an earlier one still reports is counted and changes nothing else.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from millstream.schemas import OUTCOMES, EventKind, JobEvent, JobState, State
from millstream.schemas.partial_encoder import microseconds

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


def further(one: JobState, other: JobState) -> JobState:
    """Of two states of one job, made of different events, the one that shows more of its life; the first of equals."""

    def progress(state: JobState) -> tuple[datetime, bool, int, int]:
        return state.submitted_at, state.state.terminal, state.attempt, _RANKS.get(state.state, 0)

    return max(one, other, key=progress)


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
    if event.submitted_at > fields["submitted_at"]:
        counted = {name: fields[name] for name in ("executions", "outcomes", "applied", "updated_at")}
        fields.update(_first(event) | counted)
    fields["updated_at"] = max(fields["updated_at"], event.occurred_at)
    if event.execution_id:
        _count_execution(fields, event)
    earlier = _count_outcome(fields, event, findings) if event.kind in OUTCOMES else None
    if event.submitted_at == fields["submitted_at"]:
        _show(fields, event, earlier)


def _show(fields: dict[str, Any], event: JobEvent, earlier: list[int] | None) -> None:
    """Apply an event of the latest submission. `earlier`: for an outcome that was not applied before, the attempts of
    the submission that have one."""
    if event.execution_id:
        _show_execution(fields, event)
    if earlier is not None:
        _show_outcome(fields, event, earlier)
    elif event.kind is EventKind.PROGRESS:
        _show_progress(fields, event)
    target = _STATES.get(event.kind)
    if target and not fields["state"].terminal:
        here = (fields["attempt"], _RANKS[fields["state"]])
        if (event.attempt, _RANKS[target]) > here:
            fields["state"], fields["attempt"] = target, event.attempt


def _count_execution(fields: dict[str, Any], event: JobEvent) -> None:
    mark = f"{event.attempt}:{event.execution_id}"
    if mark not in fields["applied"]:
        fields["applied"] = [*fields["applied"], mark]
        fields["executions"] += 1


def _show_execution(fields: dict[str, Any], event: JobEvent) -> None:
    """Every event of an execution carries its start; the newest execution is the one shown."""
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


def _show_progress(fields: dict[str, Any], event: JobEvent) -> None:
    reported = (event.progress or 0.0, event.message[:MAX_TEXT])
    if event.execution_id == fields["execution_id"] and reported > (fields["progress"] or -1.0, fields["message"]):
        fields["progress"], fields["message"] = reported


def _count_outcome(fields: dict[str, Any], event: JobEvent, findings: list[LifecycleFinding]) -> list[int] | None:
    """The attempts of the event's submission that have an outcome already; None for an outcome that was applied
    before."""
    submission = str(microseconds(event.submitted_at))
    mine, others = list[int](), list[int]()
    for attempt, event_id, of in _outcome_marks(fields):
        if event_id == event.event_id:
            return None
        # A mark of an earlier release does not name the submission.
        (mine if of in ("", submission) else others).append(attempt)
    if event.attempt in mine:
        findings.append(
            LifecycleFinding("duplicate_outcome", event.job_id, f"attempt {event.attempt} has another {event.kind}")
        )
    else:
        fields["outcomes"] += 1
        if event.attempt in others:
            detail = f"attempt {event.attempt} was submitted twice, and each has its outcome"
            findings.append(LifecycleFinding("reused_attempt", event.job_id, detail))
    fields["applied"] = [*fields["applied"], f"{event.attempt}={event.event_id}~{submission}"]
    return mine


def _show_outcome(fields: dict[str, Any], event: JobEvent, earlier: list[int]) -> None:
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


def _outcome_marks(fields: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Attempt, event id and submission (its time in microseconds) of each outcome that was applied."""
    for mark in fields["applied"]:
        attempt, sign, rest = mark.partition("=")
        if sign:
            event_id, _, submission = rest.partition("~")
            yield int(attempt), event_id, submission


def _attempt_of(execution_id: str, fields: dict[str, Any]) -> int:
    """The attempt that an execution belonged to, by its mark; 0 when the mark was dropped."""
    marks = (each.partition(":") for each in fields["applied"])
    return next((int(attempt) for attempt, _, execution in marks if execution == execution_id), 0)
