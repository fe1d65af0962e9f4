"""Properties that hold for whatever counts attribution is given."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.analytics.rca import Attribution, Dimension, Leaves, Options, UnevenLeaves, attribute
from millstream.analytics.rca.attribution.scan import BEYOND_CHANCE

TENANTS, TYPES, HOSTS = 5, 4, 6


def world(seed: int, rate: float = 0.05, of: float = 200.0) -> tuple[dict[str, list[str]], np.ndarray, np.ndarray]:
    """Columns of every tenant, type and host, their attempts, and how many of them fail at the same rate everywhere."""
    draw = np.random.default_rng(seed)
    grid = np.indices((TENANTS, TYPES, HOSTS)).reshape(3, -1)
    columns = {
        name: [f"{name}-{code}" for code in codes] for name, codes in zip(("tenant", "type", "host"), grid, strict=True)
    }
    attempts = draw.poisson(of, grid.shape[1]).astype(float)
    return columns, attempts, draw.poisson(attempts * rate).astype(float)


def incident(seed: int, planted: dict[str, str], added: float = 0.5) -> Leaves:
    """A world in which the planted combination's failures grow by `added` of its attempts."""
    columns, of_before, bad_before = world(seed)
    _, of_now, bad_now = world(seed + 1)
    inside = np.all([np.array(columns[name]) == value for name, value in planted.items()], axis=0)
    bad_now = np.minimum(bad_now + inside * np.round(of_now * added), of_now)
    return Leaves.of_columns(columns, bad_before, of_before, bad_now, of_now)


def names(found: Attribution) -> list[dict[str, str]]:
    return [finding.dimensions for finding in found.findings]


PLANTED = st.dictionaries(st.sampled_from(["tenant", "type", "host"]), st.integers(0, 3), min_size=1, max_size=3).map(
    lambda codes: {name: f"{name}-{code}" for name, code in codes.items()}
)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), PLANTED)
def test_a_planted_cause_of_one_to_three_dimensions_is_the_first_finding(seed: int, planted: dict[str, str]) -> None:
    found = attribute(incident(seed, planted))
    assert found.verdict == "causes"
    assert names(found)[0] == planted
    assert 0 < found.findings[0].share <= 1
    assert found.findings[0].interval[0] < found.findings[0].ratio < found.findings[0].interval[1]
    assert 0 < found.findings[0].confidence < 1


QUIET_WINDOWS = 300


@pytest.mark.parametrize(
    ("rate", "of"),
    [(0.05, 200.0), (0.01, 200.0), (0.05, 20.0), (0.3, 200.0)],
    ids=["usual", "few fail", "thin", "many fail"],
)
def test_counts_that_only_fluctuate_have_a_cause_once_in_a_hundred_at_most(rate: float, of: float) -> None:
    """Over fixed seeds, as the rate is what is judged; what is promised, exp(-BEYOND_CHANCE), is less strict."""
    alarms = []
    for seed in range(0, 2 * QUIET_WINDOWS, 2):
        columns, of_before, bad_before = world(seed, rate, of)
        _, of_now, bad_now = world(seed + 1, rate, of)
        found = attribute(Leaves.of_columns(columns, bad_before, of_before, bad_now, of_now))
        if found.verdict not in ("nothing unusual", "too little data"):
            alarms.append((seed, found.verdict))
    assert len(alarms) <= 0.01 * QUIET_WINDOWS < math.exp(-BEYOND_CHANCE) * QUIET_WINDOWS, alarms


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), PLANTED, st.randoms(use_true_random=False))
def test_the_order_of_rows_dimensions_and_values_changes_nothing(
    seed: int, planted: dict[str, str], shuffle: Random
) -> None:
    leaves = incident(seed, planted)
    order = list(range(len(leaves)))
    shuffle.shuffle(order)
    dimensions = [
        Dimension.of(each.name, [each.values[code] for code in each.codes[order]]) for each in leaves.dimensions[::-1]
    ]
    bad_before, of_before, bad_now, of_now = (
        column[order] for column in (leaves.bad_before, leaves.of_before, leaves.bad_now, leaves.of_now)
    )
    other = attribute(Leaves(dimensions, bad_before, of_before, bad_now, of_now))
    assert names(other) == names(attribute(leaves))
    assert other.findings[0].score == pytest.approx(attribute(leaves).findings[0].score)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.15, 0.9))
def test_what_hits_everybody_alike_is_global(seed: int, added: float) -> None:
    assert attribute(everywhere(seed, added)).verdict == "global"


def everywhere(seed: int, added: float) -> Leaves:
    columns, of_before, bad_before = world(seed)
    _, of_now, bad_now = world(seed + 1)
    bad_now = np.minimum(bad_now + np.round(of_now * added), of_now)
    return Leaves.of_columns(columns, bad_before, of_before, bad_now, of_now)


def test_a_change_of_the_mix_is_no_cause() -> None:
    """Simpson: each tenant fails as often as ever, the one that always fails more sends ten times the jobs."""
    found = attribute(
        Leaves.of_columns(
            {"tenant": ["good", "bad", "good", "bad"], "type": ["a", "a", "b", "b"]},
            [100, 300, 100, 300],
            [10_000, 1_000, 10_000, 1_000],
            [100, 3_000, 100, 3_000],
            [10_000, 10_000, 10_000, 10_000],
        )
    )
    assert found.now.rate > 2 * found.before.rate
    assert found.verdict == "nothing unusual"


def test_a_host_that_carries_a_bad_tenant_is_cleared_by_its_other_jobs() -> None:
    tenants, hosts = ["calm", "wild", "calm", "wild"], ["h1", "h1", "h2", "h2"]
    found = attribute(
        Leaves.of_columns(
            {"tenant": tenants, "host": hosts},
            [50, 50, 50, 5],
            [1000, 1000, 1000, 100],
            [50, 500, 50, 50],
            [1000, 1000, 1000, 100],
        )
    )
    assert names(found) == [{"tenant": "wild"}]


def test_independent_causes_are_found_one_after_the_other() -> None:
    leaves = incident(3, {"tenant": "tenant-1"})
    inside = np.array([leaves.dimensions[2].values[code] == "host-2" for code in leaves.dimensions[2].codes])
    worse = np.minimum(leaves.bad_now + inside * 60, leaves.of_now)
    both = Leaves(leaves.dimensions, leaves.bad_before, leaves.of_before, worse, leaves.of_now)
    assert sorted(map(str, names(attribute(both)))) == ["{'host': 'host-2'}", "{'tenant': 'tenant-1'}"]


def test_combinations_that_cover_the_same_rows_are_one_finding_with_its_other_names() -> None:
    leaves = incident(5, {"tenant": "tenant-1"})
    tenant = leaves.dimensions[0]
    team = Dimension.of("team", [f"team of {tenant.values[code]}" for code in tenant.codes])
    columns = (leaves.bad_before, leaves.of_before, leaves.bad_now, leaves.of_now)
    found = attribute(Leaves([*leaves.dimensions, team], *columns))
    assert len(found.findings) == 1
    known = [found.findings[0].dimensions, *found.findings[0].aliases]
    assert {"tenant": "tenant-1"} in known
    assert {"team": "team of tenant-1"} in known
    assert sorted(found.findings[0].names, key=str) == [{"team": "team of tenant-1"}, {"tenant": "tenant-1"}]


def test_a_drop_is_found_in_amounts_without_a_denominator() -> None:
    columns, before, _ = world(1)
    _, now, _ = world(2)
    stalled = np.array(columns["host"]) == "host-4"
    dimensions = [Dimension.of(name, column) for name, column in columns.items()]
    length = np.full(len(now), 600.0)
    found = attribute(
        Leaves(dimensions, before, length, np.where(stalled, 0.0, now), length, is_rate=False), Options("drop")
    )
    assert names(found) == [{"host": "host-4"}]
    assert found.findings[0].excess < 0


def test_without_a_past_the_contrast_is_with_the_rest_of_the_window() -> None:
    leaves = incident(9, {"tenant": "tenant-1", "host": "host-2"})
    nothing = np.zeros(len(leaves))
    found = attribute(Leaves(leaves.dimensions, nothing, nothing, leaves.bad_now, leaves.of_now))
    assert found.compared_with == "the rest"
    assert names(found)[0] == {"tenant": "tenant-1", "host": "host-2"}


def test_a_new_release_that_has_no_past_can_be_the_cause() -> None:
    tenants = ["a", "b", "c", "d"] * 2
    releases = ["old"] * 4 + ["new"] * 4
    found = attribute(
        Leaves.of_columns(
            {"tenant": tenants, "release": releases},
            [50] * 4 + [0] * 4,
            [1000] * 4 + [0] * 4,
            [25] * 4 + [200] * 4,
            [500] * 8,
        )
    )
    assert names(found) == [{"release": "new"}]


@pytest.mark.parametrize("bad_now", [[0, 0], [3, 2]])
def test_a_handful_of_failures_is_too_little_for_an_answer(bad_now: list[int]) -> None:
    found = attribute(Leaves.of_columns({"tenant": ["a", "b"]}, [1, 1], [100, 100], bad_now, [100, 100]))
    assert found.verdict == "too little data"


def test_columns_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(UnevenLeaves, match="'tenant' has 1 values, bad_now has 2"):
        Leaves.of_columns({"tenant": ["a"]}, [1, 1], [1, 1], [1, 1], [1, 1])
    with pytest.raises(UnevenLeaves, match="'of_now' has values that are negative"):
        Leaves.of_columns({"tenant": ["a"]}, [1], [1], [1], [-1])
