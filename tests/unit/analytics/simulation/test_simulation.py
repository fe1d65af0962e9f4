"""The model against queues whose answer is known, and against what must hold for any input."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.analytics.simulation.simulation import Arrival, Scenario, Unserved, simulate, summarise


def test_a_known_small_case_by_hand() -> None:
    jobs = [Arrival(0, "a", 10), Arrival(1, "a", 5), Arrival(2, "a", 1)]
    outcome = simulate(jobs, Scenario("s", workers=1, concurrency=1, price_per_hour=36))
    assert outcome.waits_s == [0, 9, 13]
    assert (outcome.lasted_s, outcome.utilisation) == (16, 1)
    assert outcome.cost == pytest.approx(16 / 3600 * 36)
    assert simulate(jobs, Scenario("s", workers=1, concurrency=3)).waits_s == [0, 0, 0]


@pytest.mark.parametrize(("price", "cost"), [(None, None), (0.0, 0), (7.2, 0.02)])
def test_the_cost_is_known_when_the_price_is(price: float | None, cost: float | None) -> None:
    outcome = simulate([Arrival(0, "a", 5)], Scenario("s", workers=2, concurrency=1, price_per_hour=price))
    assert outcome.cost == (cost if cost is None else pytest.approx(cost))


def test_the_more_urgent_lane_goes_first_and_a_kept_worker_reads_no_other() -> None:
    jobs = [Arrival(0, "bulk", 10), Arrival(1, "bulk", 10), Arrival(2, "high", 10)]
    equal = simulate(jobs, Scenario("s", 1, 1))
    urgent = simulate(jobs, Scenario("s", 1, 1, urgency=("high",)))
    kept = simulate(jobs, Scenario("s", 2, 1, kept={"high": 1}, partitions=1))
    assert (equal.waits_s, urgent.waits_s) == ([0, 9, 18], [0, 19, 8])
    assert kept.waits_s == [0, 9, 0]


@pytest.mark.parametrize(("load", "slots"), [(0.5, 1), (0.7, 1), (0.8, 4)])
def test_the_mean_wait_of_random_arrivals_is_that_of_erlangs_formula(load: float, slots: int) -> None:
    draw, at, jobs = random.Random(5), 0.0, []
    for _ in range(60_000):
        at += draw.expovariate(load * slots)
        jobs.append(Arrival(at, "a", draw.expovariate(1)))
    offered = load * slots
    last = offered**slots / math.factorial(slots) / (1 - load)
    busy = last / (sum(offered**n / math.factorial(n) for n in range(slots)) + last)
    outcome = simulate(jobs, Scenario("s", 1, slots))
    assert outcome.waits.mean_s == pytest.approx(busy / (slots * (1 - load)), rel=0.1)
    assert outcome.utilisation == pytest.approx(load, rel=0.03)


ARRIVALS = st.lists(
    st.builds(Arrival, st.floats(0, 100), st.sampled_from(["high", "bulk"]), st.floats(0, 20)), min_size=1, max_size=40
)


@settings(max_examples=50, deadline=None)
@given(ARRIVALS, st.integers(1, 4), st.integers(1, 4))
def test_enough_slots_mean_no_wait_and_no_job_starts_before_it_comes(
    jobs: list[Arrival], workers: int, slots: int
) -> None:
    tight = simulate(jobs, Scenario("s", workers, slots))
    assert all(wait >= -1e-9 for wait in tight.waits_s)
    assert tight.utilisation <= 1 + 1e-9
    assert simulate(jobs, Scenario("s", workers, len(jobs))).waits.max_s == pytest.approx(0, abs=1e-9)
    assert sum(waits.jobs for waits in tight.by_lane.values()) == len(jobs)


def test_an_impossible_request_is_an_error() -> None:
    with pytest.raises(Unserved, match="'bulk'"):
        simulate([Arrival(0, "bulk", 1)], Scenario("s", 1, 1, kept={"high": 1}))
    for wrong in (
        {"workers": 0},
        {"concurrency": 0},
        {"price_per_hour": -1},
        {"kept": {"a": 3}},
        {"kept": {"a": 0}},
        {"price_per_hour": math.nan},
        {"price_per_hour": math.inf},
        {"overhead_s": math.nan},
    ):
        with pytest.raises(ValueError, match="s:"):
            Scenario(**({"name": "s", "workers": 2, "concurrency": 1} | wrong))  # type: ignore[arg-type]


def test_percentiles_are_values_that_occurred() -> None:
    waits = summarise([float(n) for n in range(1, 101)])
    assert (waits.p50_s, waits.p95_s, waits.p99_s, waits.max_s) == (50, 95, 99, 100)
    assert summarise([]).jobs == 0
