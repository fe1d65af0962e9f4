"""Other methods to find a cause, over the same leaves: event deltas, DIFF, Adtributor, a Poisson scan.

Each takes leaves and returns a ranking of combinations, best first, and the combinations that it names as causes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from rca_cases import Name

from millstream.analytics.rca import Leaves
from millstream.analytics.rca.attribution.leaves import Amounts
from millstream.analytics.rca.attribution.scan import Candidate, Group, groups

KEPT = 10


@dataclass(frozen=True)
class Sums:
    """[combination] totals of one group of dimensions."""

    group: Group
    bad_before: Amounts
    of_before: Amounts
    bad_now: Amounts
    of_now: Amounts


def event_delta(leaves: Leaves) -> tuple[list[Name], list[Name]]:
    """BubbleUp and ClickStack event deltas: the share among the bad now, less the share among the bad before."""
    now, before = max(leaves.bad_now.sum(), 1), max(leaves.bad_before.sum(), 1)
    return _best(leaves, lambda sums: sums.bad_now / now - sums.bad_before / before)


SUPPORT = 0.2


def diff(leaves: Leaves) -> tuple[list[Name], list[Name]]:
    """MacroBase DIFF (Abuzaid et al. 2018): by risk ratio, among combinations that hold `SUPPORT` of the bad.

    Bad requests are the outliers, good ones the inliers. Support 0.2 was the best of 0.1, 0.2, 0.3, 0.5 and 0.7 on the
    RobustSpot cases.
    """
    bad, of = leaves.bad_now.sum(), leaves.of_now.sum()

    def risk_ratio(sums: Sums) -> Amounts:
        inside = sums.bad_now / np.maximum(sums.of_now, 1e-9)
        outside = (bad - sums.bad_now + 0.5) / (of - sums.of_now + 0.5)
        ratio: Amounts = np.where(sums.bad_now >= SUPPORT * bad, inside / outside, -np.inf)
        return ratio

    return _best(leaves, risk_ratio)


def poisson_scan(leaves: Leaves) -> tuple[list[Name], list[Name]]:
    """The Poisson log-likelihood ratio, less that of the complement, less order x ln(combinations)."""
    rate = (leaves.bad_before + 1) / (leaves.of_before + leaves.of_before.sum() / max(leaves.bad_before.sum(), 1))
    mean = rate * leaves.of_now
    bad, expected = leaves.bad_now.sum(), mean.sum()
    tried = sum(len(group.values) for group in groups(leaves, 3))

    def score(sums: Sums) -> Amounts:
        inside = sums.group.sums(mean)
        penalty = len(sums.group.dimensions) * np.log(tried)
        gain = _poisson(sums.bad_now, inside) - _poisson(bad - sums.bad_now, expected - inside)
        found: Amounts = gain - penalty
        return found

    return _best(leaves, score)


LEAST_POWER, ENOUGH_POWER = 0.1, 0.67


def adtributor(leaves: Leaves) -> tuple[list[Name], list[Name]]:
    """Adtributor (Bhagwan et al. 2014): single dimensions by surprise, explanatory power 0.1 each, 0.67 in all."""
    rate = leaves.bad_before.sum() / max(leaves.of_before.sum(), 1e-9)
    mean = np.where(leaves.of_before > 0, leaves.bad_before / np.maximum(leaves.of_before, 1e-9), rate) * leaves.of_now
    change = leaves.bad_now.sum() - mean.sum()
    found: list[tuple[float, list[Name]]] = []
    for dimension in leaves.dimensions:
        size = len(dimension.values)
        forecast, actual = (np.bincount(dimension.codes, column, size) for column in (mean, leaves.bad_now))
        p, q = forecast / max(forecast.sum(), 1e-9), actual / max(actual.sum(), 1e-9)
        middle = (p + q) / 2
        surprise = 0.5 * (_entropy_term(p, middle) + _entropy_term(q, middle))
        power = (actual - forecast) / (change or 1.0)
        chosen: list[int] = []
        for code in np.argsort(-surprise).tolist():
            if power[code] > LEAST_POWER:
                chosen.append(code)
            if power[chosen].sum() > ENOUGH_POWER:
                found.append(
                    (float(surprise[chosen].sum()), [{dimension.name: dimension.values[each]} for each in chosen])
                )
                break
    found.sort(key=lambda each: -each[0])
    return [name for _, names in found for name in names], found[0][1] if found else []


BASELINES: dict[str, Callable[[Leaves], tuple[list[Name], list[Name]]]] = {
    "event_delta": event_delta,
    "diff": diff,
    "adtributor": adtributor,
    "poisson_scan": poisson_scan,
}


def _best(leaves: Leaves, score: Callable[[Sums], Amounts]) -> tuple[list[Name], list[Name]]:
    found = [candidate for sums in _sums(leaves) for candidate in _top(sums, score(sums))]
    found.sort(key=lambda candidate: (-candidate.score, candidate.order))
    names = [candidate.name(leaves) for candidate in found[:KEPT]]
    return names, names[:1]


def _sums(leaves: Leaves) -> Iterator[Sums]:
    for group in groups(leaves, 3):
        columns = (leaves.bad_before, leaves.of_before, leaves.bad_now, leaves.of_now)
        yield Sums(group, *(group.sums(column) for column in columns))


def _top(sums: Sums, score: Amounts) -> list[Candidate]:
    order = np.argsort(-score, kind="stable")[: 2 * KEPT].tolist()
    return [Candidate(sums.group, number, float(score[number]), 0.0) for number in order if np.isfinite(score[number])]


def _poisson(count: Amounts, mean: Amounts) -> Amounts:
    count, mean = np.maximum(count, 0.0), np.maximum(mean, 1e-9)
    gain: Amounts = np.where(count > mean, count * np.log(np.maximum(count, 1e-12) / mean) - (count - mean), 0.0)
    return gain


def _entropy_term(p: Amounts, middle: Amounts) -> Amounts:
    term: Amounts = np.where(p > 0, p * np.log(np.maximum(p, 1e-12) / np.maximum(middle, 1e-12)), 0.0)
    return term
