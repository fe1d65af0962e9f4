"""The life of a job as a pure function: (state, events) -> (state, findings).

Events may arrive twice and in any order; the resulting state is the same. What counts is not when an event arrived but
what it contains: a later attempt outranks an earlier one, within an attempt the outcome outranks the start, and the
final outcome outranks everything. The state is derived: nothing is executed or stored because of it.

A job that is submitted again under its id has another `submitted_at`, which every event of that submission carries. The
state is that of the latest submission; what an earlier one still reports is counted and changes nothing else.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from millstream.schemas import OUTCOMES, EventKind, JobState, State
from millstream.streams.event_reader import Event

MAX_MARKS = 64
"""Marks of applied events that a state keeps. They protect only the counters: when the oldest of a job with very
many attempts are dropped, a start may be counted twice, nothing else."""

Fields = dict[str, Any]
"""The fields of a `JobState` by name; times are microseconds since 1970."""

_RANKS = {State.OTHER: 0, State.SUBMITTED: 0, State.SCHEDULED: 1, State.RUNNING: 2, State.RETRYING: 3}
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


_PLAIN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_EXECUTION_MARK = re.compile(r"([0-9]{1,10}):(#?[0-9A-Za-z-]{1,64})")
_OUTCOME_MARK = re.compile(r"([0-9]{1,10})=(#?[0-9A-Za-z-]{1,64})(?:~([0-9]{1,20}))?")
"""A mark of an execution is its attempt and id; one of an outcome its attempt, event id and submission, which a mark of
an earlier release lacks. What is neither, such as what an earlier release made of a crafted id, marks nothing."""


class LifecycleFinding(NamedTuple):
    """An inconsistency in a job's events. `kind` is a constant name."""

    kind: str
    job_id: str
    detail: str


def further(one: Fields, other: Fields) -> Fields:
    """Of two states of one job, made of different events, the one that shows more of its life; the first of equals."""

    def progress(fields: Fields) -> tuple[int, bool, int, int]:
        state = fields["state"]
        return fields["submitted_at"], state.terminal, fields["attempt"], _RANKS.get(state, 0)

    return max(one, other, key=progress)


def apply(state: Fields | None, events: Iterable[Event]) -> tuple[Fields, list[LifecycleFinding]]:
    """The state after these events of one job, and the inconsistencies found. `events` must not be empty when there is
    no state yet. Changes nothing of the given state."""
    findings: list[LifecycleFinding] = []
    fields: Fields = {} if state is None else dict(state)
    for event in events:
        if not fields:
            fields = _first(event)
        _apply_one(fields, event, findings)
    fields["applied"] = fields["applied"][-MAX_MARKS:]
    return fields, findings


def _first(event: Event) -> Fields:
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


def _apply_one(fields: Fields, event: Event, findings: list[LifecycleFinding]) -> None:
    if event.submitted_at > fields["submitted_at"]:
        counted = {name: fields[name] for name in ("executions", "outcomes", "applied", "updated_at")}
        fields.update(_first(event) | counted)
    fields["updated_at"] = max(fields["updated_at"], event.occurred_at)
    if event.execution_id:
        _count_execution(fields, event)
    earlier = _count_outcome(fields, event, findings) if event.kind in OUTCOMES else None
    if event.submitted_at == fields["submitted_at"]:
        _show(fields, event, earlier)


def _show(fields: Fields, event: Event, earlier: list[int] | None) -> None:
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


def _count_execution(fields: Fields, event: Event) -> None:
    mark = f"{event.attempt}:{_mark_id(event.execution_id or '')}"
    if mark not in fields["applied"]:
        fields["applied"] = [*fields["applied"], mark]
        fields["executions"] += 1


def _show_execution(fields: Fields, event: Event) -> None:
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


def _show_progress(fields: Fields, event: Event) -> None:
    reported = (event.progress or 0.0, event.message)
    if event.execution_id == fields["execution_id"] and reported > (fields["progress"] or -1.0, fields["message"]):
        fields["progress"], fields["message"] = reported


def _count_outcome(fields: Fields, event: Event, findings: list[LifecycleFinding]) -> list[int] | None:
    """The attempts of the event's submission that have an outcome already; None for an outcome that was applied
    before."""
    submission, marked = str(event.submitted_at), _mark_id(event.event_id)
    mine, others = list[int](), list[int]()
    for attempt, event_id, of in _outcome_marks(fields):
        if event_id == marked:
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
    fields["applied"] = [*fields["applied"], f"{event.attempt}={marked}~{submission}"]
    return mine


def _show_outcome(fields: Fields, event: Event, earlier: list[int]) -> None:
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


def _outcome_marks(fields: Fields) -> Iterator[tuple[int, str, str]]:
    """Attempt, event id and submission (its time in microseconds) of each outcome that was applied."""
    for mark in fields["applied"]:
        if found := _OUTCOME_MARK.fullmatch(mark):
            attempt, event_id, submission = found.groups(default="")
            yield int(attempt), event_id, submission


def _attempt_of(execution_id: str, fields: Fields) -> int:
    """The attempt that an execution belonged to, by its mark; 0 when the mark was dropped."""
    marked = _mark_id(execution_id)
    for mark in fields["applied"]:
        found = _EXECUTION_MARK.fullmatch(mark)
        if found and found[2] == marked:
            return int(found[1])
    return 0


def _mark_id(any_id: str) -> str:
    """An id inside a mark. One of Millstream's stands for itself, so that the release before reads the mark; any other
    is replaced by its hash, which holds none of the signs of a mark."""
    if _PLAIN_ID.fullmatch(any_id):
        return any_id
    return f"#{blake2b(any_id.encode(), digest_size=16).hexdigest()}"
