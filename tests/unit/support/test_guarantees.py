"""The guarantees themselves: legal histories pass, illegal ones are named."""

from datetime import UTC, datetime, timedelta

from millstream.schemas import EventKind, JobEvent
from millstream.schemas.ids import new_id
from tests.support.guarantees import History, NoJobLost, NoStarvation, OneOutcomePerAttempt, OrderPerKey

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
A, B = new_id(), new_id()


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def started(job: str, execution: str, second: float = 0) -> JobEvent:
    return event(job, EventKind.STARTED, execution, second, second)


def ended(
    job: str, execution: str, second: float = 1, began: float = 0, final: bool = True, tenant: str = "t"
) -> JobEvent:
    return event(job, EventKind.SUCCEEDED, execution, second, began, final, tenant)


def event(
    job: str, kind: EventKind, execution: str, second: float, began: float, final: bool = False, tenant: str = "t"
) -> JobEvent:
    return JobEvent(
        job_id=job,
        tenant=tenant,
        job_type="j",
        lane="default",
        submitted_at=BEGAN,
        attempt=1,
        execution_id=execution,
        kind=kind,
        occurred_at=at(second),
        started_at=at(began),
        final=final,
    )


def test_a_job_without_a_final_outcome_is_lost() -> None:
    guarantee = NoJobLost()
    assert guarantee.violations(History([A], [started(A, "x1"), started(A, "x2"), ended(A, "x2")])) == []
    assert len(guarantee.violations(History([A, B], [started(A, "x1"), ended(A, "x1")]))) == 1
    assert len(guarantee.violations(History([A], [started(A, "x1"), ended(A, "x1", final=False)]))) == 1


def test_a_second_outcome_or_one_without_a_start_is_named() -> None:
    guarantee = OneOutcomePerAttempt()
    twice = [started(A, "x1"), started(A, "x2"), ended(A, "x1"), ended(A, "x2")]
    assert guarantee.violations(History([A], twice[:3])) == []
    assert guarantee.violations(History([A], twice)) == [f"attempt {A}/1 has 2 outcomes"]
    assert len(guarantee.violations(History([A], [ended(A, "x3")]))) == 1


def test_a_job_that_starts_before_its_key_is_free_is_named() -> None:
    guarantee = OrderPerKey()
    keys = {"k": [A, B]}
    assert guarantee.violations(History([A, B], [ended(A, "x", 1, 0), ended(B, "y", 3, 2)], keys)) == []
    assert len(guarantee.violations(History([A, B], [ended(A, "x", 2, 0), ended(B, "y", 3, 1)], keys))) == 1
    overlapping = [started(B, "y", 1), ended(A, "x", 2, 0), ended(B, "z", 4, 3)]
    assert len(guarantee.violations(History([A, B], overlapping, keys))) == 1
    in_vain = [started(A, "w", 0), started(B, "y", 1), ended(A, "x", 3, 2), ended(B, "z", 5, 4)]
    assert guarantee.violations(History([A, B], in_vain, keys)) == []
    assert len(guarantee.violations(History([A, B], in_vain[1:], keys))) == 1


def test_a_tenant_that_waits_while_nothing_of_its_own_ends_starves() -> None:
    guarantee = NoStarvation(timedelta(seconds=5))
    assert guarantee.violations(History([A], [ended(A, "x", 4, tenant="small")])) == []
    assert guarantee.violations(History([A], [ended(A, "x", 9, tenant="small")])) == [
        "no job of tenant small ended for 9.0 s"
    ]
