"""The verdicts on a bottleneck, from facts by hand."""

from dataclasses import replace

from millstream.analytics.rca.questions.attempt_stats import NO_ATTEMPTS
from millstream.analytics.rca.questions.bottleneck_verdicts import Busy, Facts, Load, judge


def load(value: str, wait_p95_ms: float = 0.0, *, starts: int = 100, queued: float = 0.0, arrivals: int = 100) -> Load:
    return Load(value, arrivals, starts, arrivals / 60, starts / 60, wait_p95_ms / 2, wait_p95_ms, queued, 2, 4)


IDLE = Facts(
    lanes=[load("default")],
    tenants=[load("acme"), load("globex")],
    types=[load("mail")],
    partitions=[load(f"default/{number}") for number in range(4)],
    worker_loads=[load("w1"), load("w2")],
    workers=[Busy("w1", 2.0, 10, 0.0), Busy("w2", 2.0, 10, 0.0)],
    capacity=20,
    tenants_busy=[Busy("acme", 1.0, 5, 0.0), Busy("globex", 1.0, 5, 0.0)],
    types_now=[],
    types_before=[],
    backlog=0,
    workers_seen=2,
)
WAITING = replace(IDLE, lanes=[load("default", 5000, queued=10)])


def kinds(facts: Facts) -> list[str]:
    return [verdict.kind for verdict in judge(facts)]


def test_without_a_queue_there_is_no_bottleneck() -> None:
    assert kinds(IDLE) == ["none"]


def test_jobs_that_wait_while_none_starts_are_stalled() -> None:
    assert kinds(replace(IDLE, lanes=[load("default", starts=0)], backlog=7)) == ["stalled"]


def test_a_queue_before_workers_at_their_peak_is_saturation() -> None:
    full = replace(WAITING, workers=[Busy("w1", 9.0, 10, 0.9), Busy("w2", 9.5, 10, 0.9)])
    assert kinds(full) == ["saturation"]


def test_a_queue_that_nothing_explains_is_unclear_and_not_a_guess() -> None:
    assert kinds(WAITING) == ["unclear"]


def test_a_tenant_at_its_ceiling_with_workers_free_has_a_limit_of_its_own() -> None:
    limited = replace(
        WAITING,
        tenants=[load("acme", 8000), load("globex", 10)],
        tenants_busy=[Busy("acme", 5.0, 5, 0.9), Busy("globex", 1.0, 5, 0.0)],
    )
    (verdict,) = judge(limited)
    assert (verdict.kind, verdict.subject) == ("tenant_limit", "tenant acme")
    full = replace(limited, workers=[Busy("w1", 9.0, 10, 0.9), Busy("w2", 9.5, 10, 0.9)])
    assert kinds(full) == ["saturation"], "with all workers busy the ceiling is theirs"


def test_a_type_that_takes_longer_without_using_the_cpu_waits_for_something_it_calls() -> None:
    before = replace(NO_ATTEMPTS, value="mail", attempts=100, run_p95_ms=100.0, cpu_share=0.1)
    slow = replace(WAITING, types_before=[before], types_now=[replace(before, run_p95_ms=900.0)])
    (verdict,) = judge(slow)
    assert (verdict.kind, verdict.subject) == ("slow_dependency", "type mail")
    computing = replace(slow, types_now=[replace(before, run_p95_ms=900.0, cpu_share=0.9)])
    assert kinds(computing) == ["unclear"]


def test_most_of_the_waiting_on_one_partition_is_skew() -> None:
    parts = [load("default/0", 9000, queued=30, arrivals=300), *(load(f"default/{n}", 10, queued=1) for n in (1, 2, 3))]
    (verdict,) = judge(replace(WAITING, partitions=parts))
    assert (verdict.kind, verdict.subject) == ("skewed_partition", "partition default/0")


def test_workers_without_a_partition_are_too_few_partitions() -> None:
    few = replace(
        WAITING,
        partitions=[load("default/0", 5000, queued=5), load("default/1", 5000, queued=5)],
        worker_loads=[load("w1"), load("w2"), load("w3", starts=0)],
        workers_seen=3,
    )
    assert kinds(few) == ["too_few_partitions"]
