"""The adaptive limit: up while run times stay near their floor, down when they do not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.worker.scheduling.adaptive_limit import AdaptiveLimit


def after(limit: AdaptiveLimit, rounds: int, run_ms: float, cpu: float = 0.2, memory: float = 0.2) -> int:
    for _ in range(rounds):
        limit.update([("a", run_ms)] * 50, limit.limit, cpu, memory)
    return limit.limit


def test_it_grows_while_jobs_take_no_longer_than_alone() -> None:
    assert after(AdaptiveLimit(20, 5, 200), 100, 10.0) == 200


def test_it_shrinks_when_run_times_grow_and_recovers_afterwards() -> None:
    limit = AdaptiveLimit(100, 5, 200)
    after(limit, 5, 10.0)
    assert after(limit, 10, 80.0) < 50
    assert after(limit, 100, 10.0) == 200


def test_it_does_not_grow_when_its_places_are_not_used() -> None:
    limit = AdaptiveLimit(100, 5, 200)
    for _ in range(50):
        limit.update([("a", 10.0)] * 50, 3, 0.2, 0.2)
    assert limit.limit == 100


def test_short_memory_cuts_it_to_the_least_and_short_cpu_to_where_it_began() -> None:
    assert after(AdaptiveLimit(100, 5, 200), 50, 10.0, memory=0.95) == 5
    grown = AdaptiveLimit(50, 5, 200)
    after(grown, 60, 10.0)
    assert grown.limit > 100
    assert after(grown, 60, 10.0, cpu=0.99) == 50


def test_a_type_whose_run_time_has_grown_for_good_gets_its_concurrency_back() -> None:
    limit = AdaptiveLimit(100, 5, 200)
    after(limit, 5, 10.0)
    assert after(limit, 300, 40.0) == 200


@pytest.mark.parametrize("quick", [0.01, 0.05, 0.3])
def test_some_jobs_that_end_at_once_do_not_bring_it_down(quick: float) -> None:
    chance = random.Random(1)
    limit = AdaptiveLimit(100, 10, 400)
    for _ in range(200):
        samples = [("render", 0.1 if chance.random() < quick else 200.0) for _ in range(40)]
        limit.update(samples, limit.limit, 0.2, 0.2)
    assert limit.limit == 400


def test_run_times_that_vary_by_themselves_do_not_bring_it_down() -> None:
    chance = random.Random(2)
    limit = AdaptiveLimit(100, 10, 400)
    lowest = 400
    for round_ in range(2000):
        samples = [("a", chance.expovariate(1 / 50)) for _ in range(50)] + [("b", chance.lognormvariate(3, 1))] * 3
        limit.update(samples, limit.limit, 0.2, 0.2)
        if round_ > 200:
            lowest = min(lowest, limit.limit)
    assert lowest > 200


def test_a_bottleneck_is_found_though_some_jobs_end_at_once() -> None:
    chance = random.Random(3)
    limit = AdaptiveLimit(100, 10, 400)
    for _ in range(120):
        # What the jobs call bears a hundred at once; beyond that each takes longer in proportion.
        run_ms = 50.0 * max(1.0, limit.limit / 100)
        samples = [("a", 0.1 if chance.random() < 0.05 else run_ms * chance.uniform(0.8, 1.2)) for _ in range(60)]
        limit.update(samples, limit.limit, 0.2, 0.2)
        assert limit.limit < 300


def test_a_type_with_few_jobs_a_window_is_judged_when_there_are_enough() -> None:
    limit = AdaptiveLimit(20, 5, 200)
    for _ in range(400):
        limit.update([("rare", 10.0)] * 3, limit.limit, 0.2, 0.2)
    assert limit.limit > 100


@given(
    st.lists(
        st.tuples(st.floats(0, 1e7), st.integers(0, 500), st.floats(0, 1), st.floats(0, 1), st.integers(0, 30)),
        max_size=60,
    )
)
def test_it_never_leaves_its_bounds(rounds: list[tuple[float, int, float, float, int]]) -> None:
    limit = AdaptiveLimit(50, 7, 300)
    for run_ms, busiest, cpu, memory, samples in rounds:
        assert 7 <= limit.update([("a", run_ms)] * samples, busiest, cpu, memory) <= 300


@pytest.mark.parametrize("start", [5, 1000])
def test_a_start_beyond_the_bounds_is_honoured(start: int) -> None:
    limit = AdaptiveLimit(start, 10, 400)
    assert limit.limit == start
    assert limit.update([], busiest=0, cpu=0.1, memory=0.1) == start
