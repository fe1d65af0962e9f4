"""A job's state does not depend on the order of its events, nor on how often each comes."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.redaction import Redaction
from millstream.schemas import Codec, EventKind, JobEvent, JobState, State
from millstream.schemas.ids import new_id
from millstream.schemas.partial_encoder import microseconds
from millstream.streams import lifecycle
from millstream.streams.bounds import MAX_TEXT
from millstream.streams.event_reader import EventReader
from millstream.streams.lifecycle import MAX_MARKS, LifecycleFinding
from millstream.streams.state_codec import StateCodec

START = datetime(2026, 1, 1, tzinfo=UTC)
APPENDED_AT = microseconds(START) + 3600 * 1_000_000
JOB = new_id()
CODEC = Codec()
READER, STATES = EventReader(CODEC), StateCodec(CODEC)


def apply(state: JobState | None, events: Iterable[JobEvent]) -> tuple[JobState, list[LifecycleFinding]]:
    """The state after these events, each written and read as the tracker does, the state too."""
    before = None if state is None else STATES.decode(CODEC.encode(state))
    read = [READER.read(CODEC.encode(each), APPENDED_AT) for each in events]
    fields, findings = lifecycle.apply(before, read)
    return STATES.model(STATES.encode(fields)), findings


def further(one: JobState, other: JobState) -> JobState:
    """The one of these states, the same object, that `lifecycle.further` chooses."""
    fields = STATES.decode(CODEC.encode(one)), STATES.decode(CODEC.encode(other))
    return one if lifecycle.further(*fields) is fields[0] else other


def event(kind: EventKind, second: float, attempt: int = 0, execution: str | None = None, **fields: object) -> JobEvent:
    started = START + timedelta(seconds=float(fields.pop("begun", second)))  # type: ignore[arg-type]
    known = {"execution_id": execution, "started_at": started, "worker_id": f"w-{execution}", "wait_ms": 5.0}
    return JobEvent.model_validate(
        {
            "job_id": JOB,
            "tenant": "acme",
            "job_type": "a.b",
            "lane": "default",
            "submitted_at": START,
            "attempt": attempt,
            "kind": kind,
            "occurred_at": START + timedelta(seconds=second),
            **(known if execution else {}),
            **fields,
        }
    )


def history(attempts: int, last: EventKind, restarts: set[int]) -> list[JobEvent]:
    """A legal history: attempts that fail and are retried, the last one ending as given, some started twice."""
    events = [event(EventKind.SUBMITTED, 0)]
    second = 0.0
    for attempt in range(1, attempts + 1):
        executions = [f"{attempt}a", f"{attempt}b"] if attempt in restarts else [f"{attempt}a"]
        for execution in executions:
            second += 1
            begun = second
            events.append(event(EventKind.STARTED, second, attempt, execution))
            second += 1
            events.append(
                event(EventKind.PROGRESS, second, attempt, execution, begun=begun, progress=0.5, message="half")
            )
        second += 1
        final = attempt == attempts
        kind = last if final else EventKind.FAILED
        error = {} if kind is EventKind.SUCCEEDED else {"error_type": "E", "error_message": f"attempt {attempt}"}
        events.append(
            event(kind, second, attempt, executions[-1], begun=begun, final=final, run_ms=float(attempt), **error)
        )
        if not final:
            events.append(event(EventKind.RETRY_SCHEDULED, second, attempt, executions[-1], begun=begun))
        elif kind is not EventKind.SUCCEEDED:
            events.append(event(EventKind.DEAD_LETTERED, second, attempt, executions[-1], begun=begun))
    return events


OUTCOMES = [EventKind.SUCCEEDED, EventKind.FAILED, EventKind.TIMED_OUT, EventKind.CANCELLED]
histories = st.builds(history, st.integers(1, 4), st.sampled_from(OUTCOMES), st.sets(st.integers(1, 4)))
lives_so_far = histories.flatmap(lambda events: st.integers(1, len(events)).map(lambda length: events[:length]))


def submitted_again(first: list[JobEvent], again: list[JobEvent], after_s: float, new_attempts: bool) -> list[JobEvent]:
    """Events of the job's second submission, with attempts of their own or with those of the first once more."""
    later, last = timedelta(seconds=after_s), max(each.attempt for each in first)
    return [
        each.model_copy(
            update={
                "event_id": new_id(),
                "submitted_at": START + later,
                "occurred_at": each.occurred_at + later,
                "started_at": each.started_at and each.started_at + later,
                "execution_id": each.execution_id and f"again-{each.execution_id}",
                "attempt": each.attempt + last if new_attempts and each.attempt else each.attempt,
            }
        )
        for each in again
    ]


def reported(state: JobState) -> dict[str, object]:
    """Every field but the marks, which keep the order in which they were made."""
    return state.model_dump(exclude={"applied"}) | {"applied": sorted(state.applied)}


@given(lives_so_far, st.randoms(use_true_random=False), st.data())
@settings(max_examples=300, deadline=None)
def test_any_order_and_any_repetition_give_the_same_state(
    events: list[JobEvent], dice: random.Random, data: st.DataObject
) -> None:
    expected, findings = apply(None, events)
    shuffled = events + data.draw(st.lists(st.sampled_from(events), max_size=6))
    dice.shuffle(shuffled)
    cut = data.draw(st.integers(1, len(shuffled)))
    state, found = apply(None, shuffled[:cut])
    if shuffled[cut:]:
        state, more = apply(state, shuffled[cut:])
        found = found + more
    assert reported(state) == reported(expected)
    assert findings == found == []


@given(histories)
def test_a_whole_life_ends_in_the_state_of_its_last_outcome(events: list[JobEvent]) -> None:
    state, _ = apply(None, events)
    outcome = next(each for each in events if each.final)
    assert state.state == State(outcome.kind.value)
    assert state.state.terminal
    assert (state.attempt, state.finished_at, state.run_ms) == (outcome.attempt, outcome.occurred_at, outcome.run_ms)
    assert (state.error_type, state.error_message) == (outcome.error_type, outcome.error_message)
    assert state.executions == len({each.execution_id for each in events if each.execution_id})
    assert state.outcomes == outcome.attempt


@given(histories, st.data())
def test_a_finished_job_stays_finished_whatever_comes_late(events: list[JobEvent], data: st.DataObject) -> None:
    finished, _ = apply(None, events)
    late = data.draw(
        st.sampled_from(
            [
                event(EventKind.SUBMITTED, 99),
                event(EventKind.STARTED, 99, 9, "9z"),
                event(EventKind.PROGRESS, 99, 1, "1a", progress=0.9),
                event(EventKind.RETRY_SCHEDULED, 99, 9, "9z"),
            ]
        )
    )
    after, _ = apply(finished, [late])
    assert (after.state, after.finished_at) == (finished.state, finished.finished_at)


@given(lives_so_far, lives_so_far, st.floats(0.001, 100), st.booleans(), st.randoms(use_true_random=False), st.data())
@settings(max_examples=300, deadline=None)
def test_the_state_of_a_job_that_was_submitted_again_is_that_of_its_latest_submission_in_any_order(
    first: list[JobEvent],
    again: list[JobEvent],
    after_s: float,
    new_attempts: bool,
    dice: random.Random,
    data: st.DataObject,
) -> None:
    second = submitted_again(first, again, after_s, new_attempts)
    shuffled = first + second + data.draw(st.lists(st.sampled_from(first + second), max_size=6))
    dice.shuffle(shuffled)
    state, findings = apply(None, shuffled)
    alone, _ = apply(None, second)
    earlier, _ = apply(None, first)
    counted = {"applied", "executions", "outcomes", "updated_at"}
    assert state.model_dump(exclude=counted) == alone.model_dump(exclude=counted)
    assert state.executions == earlier.executions + alone.executions
    assert state.outcomes == earlier.outcomes + alone.outcomes
    reused = 0 if new_attempts else min(earlier.outcomes, alone.outcomes)
    assert [finding.kind for finding in findings] == ["reused_attempt"] * reused


def test_a_finished_job_that_is_submitted_again_waits_then_runs_and_has_a_new_end() -> None:
    first = history(1, EventKind.FAILED, set())
    state, _ = apply(None, first)
    shown = []
    for each in submitted_again(first, history(1, EventKind.SUCCEEDED, set()), 100, new_attempts=True):
        state, _ = apply(state, [each, *first])
        shown.append((state.state, state.attempt, state.finished_at is not None, state.error_type))
    assert shown == [
        (State.SUBMITTED, 0, False, ""),
        (State.RUNNING, 2, False, ""),
        (State.RUNNING, 2, False, ""),
        (State.SUCCEEDED, 2, True, ""),
    ]
    assert state.finished_at is not None and state.started_at is not None
    assert state.submitted_at < state.started_at < state.finished_at


def test_of_two_states_that_of_the_later_submission_shows_more_of_the_job() -> None:
    first = history(2, EventKind.FAILED, set())
    ended, _ = apply(None, first)
    waiting, _ = apply(None, submitted_again(first, first[:1], 100, new_attempts=True))
    assert further(ended, waiting) is further(waiting, ended) is waiting


def test_an_outcome_that_an_earlier_release_has_marked_is_applied_once() -> None:
    life = history(1, EventKind.SUCCEEDED, set())
    state, _ = apply(None, life)
    marks = [mark.partition("~")[0] for mark in state.applied]
    state, findings = apply(state.model_copy(update={"applied": marks}), life)
    assert (state.outcomes, findings) == (1, [])
    second = event(EventKind.FAILED, 9, 1, "1b", final=True, event_id=new_id())
    assert [finding.kind for finding in apply(state, [second])[1]] == ["duplicate_outcome"]


def test_a_second_outcome_of_an_attempt_is_found_and_changes_nothing() -> None:
    life = history(1, EventKind.SUCCEEDED, set())
    state, _ = apply(None, life)
    second = event(EventKind.FAILED, 9, 1, "1b", final=True, event_id=new_id())
    after, findings = apply(state, [second])
    assert [finding.kind for finding in findings] == ["duplicate_outcome"]
    assert after.state is State.SUCCEEDED
    assert after.outcomes == 1
    assert apply(after, [second])[1] == []


def test_a_job_begun_twice_shows_both_executions_and_the_newest_worker() -> None:
    state, _ = apply(None, [event(EventKind.STARTED, 5, 1, "b"), event(EventKind.STARTED, 2, 1, "a")])
    assert (state.state, state.executions, state.worker_id) == (State.RUNNING, 2, "w-b")


def test_progress_never_goes_backwards() -> None:
    begun = {"begun": 1}
    ahead = event(EventKind.PROGRESS, 3, 1, "a", progress=0.8, message="nearly", **begun)
    behind = event(EventKind.PROGRESS, 2, 1, "a", progress=0.2, message="begun", **begun)
    state, _ = apply(None, [event(EventKind.STARTED, 1, 1, "a"), ahead, behind])
    assert (state.progress, state.message) == (0.8, "nearly")


def test_an_outcome_after_the_next_start_is_still_applied() -> None:
    failed = event(EventKind.FAILED, 2, 1, "a", begun=1, run_ms=7.0, error_type="E")
    state, _ = apply(None, [event(EventKind.STARTED, 3, 2, "b"), failed])
    assert (state.state, state.attempt, state.execution_id) == (State.RUNNING, 2, "b")
    assert (state.run_ms, state.error_type) == (7.0, "E")


def test_a_message_of_megabytes_is_cut() -> None:
    state, _ = apply(None, [event(EventKind.PROGRESS, 1, 1, "a", progress=0.5, message="x" * 2_000_000)])
    assert len(state.message) == MAX_TEXT


def test_a_job_of_very_many_attempts_keeps_a_bounded_state() -> None:
    state: JobState | None = None
    for attempt in range(1, 200):
        events = [
            event(EventKind.STARTED, attempt, attempt, f"{attempt}x"),
            event(EventKind.FAILED, attempt, attempt, f"{attempt}x"),
        ]
        state, _ = apply(state, events)
    assert state is not None
    assert len(state.applied) <= MAX_MARKS
    assert state.outcomes == 199


@pytest.mark.parametrize("kind", [EventKind.SUBMITTED, EventKind.SCHEDULED])
def test_a_job_that_has_not_begun_waits(kind: EventKind) -> None:
    state, _ = apply(None, [event(kind, 0)])
    assert state.state == State(kind.value)
    assert not state.state.terminal


def test_a_state_holds_nothing_that_is_redacted_whoever_wrote_the_event() -> None:
    reader = EventReader(CODEC, Redaction(patterns=["sk_[a-z]+"]))
    failed = event(EventKind.FAILED, 1, 1, "e", error_message="cannot pay with sk_live", message="sk_live", final=True)
    read = reader.read(CODEC.encode(failed), APPENDED_AT)
    assert (read.error_message, read.message) == ("cannot pay with [redacted]", "[redacted]")
