"""Which dimensions and values are worth combining, from one-dimensional counts alone.

A combination that changed shows in the totals of each of its values, if weaker. So a cheap pass over single
dimensions selects the few dimensions and values that the costly pass over combinations keeps apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millstream.analytics.rca.attribution.baseline import has_past, shrunk_rate
from millstream.analytics.rca.attribution.leaves import Amounts, Leaves, Mask
from millstream.analytics.rca.attribution.scan import two_sample_evidence

MOST_DIMENSIONS = 6

FEW_VALUES = 40
"""A dimension with at most so many values keeps all of them."""

MOST_VALUES = 12

MOST_CELLS = 20_000
"""Combinations of kept values, at most; the values with the weakest evidence are dropped first."""


@dataclass(frozen=True)
class Screened:
    """One selected dimension and which of its values are kept (the others count together)."""

    dimension: str
    values: Sequence[str]
    kept: Mask


def screen(marginals: Sequence[Leaves], *, drop: bool) -> list[Screened]:
    """The dimensions worth combining, strongest evidence first. Each of `marginals` has one dimension, one leaf a
    value."""
    looks = [(marginal, _evidence(marginal, drop)) for marginal in marginals]
    looks.sort(key=lambda look: -look[1].max(initial=0.0))
    looks = looks[:MOST_DIMENSIONS]
    numbers = [min(MOST_VALUES, max(2, int((evidence > 1).sum())), len(evidence)) for _, evidence in looks]
    while math.prod(number + 1 for number in numbers) > MOST_CELLS and max(numbers) > 2:
        widest = max(range(len(numbers)), key=lambda index: (numbers[index], index))
        numbers[widest] -= 1
    return [_keep(*look, number) for look, number in zip(looks, numbers, strict=True)]


def narrowed(leaves: Leaves, *, drop: bool) -> Leaves:
    """The same leaves along the dimensions worth combining, in their given order."""
    if len(leaves.dimensions) <= MOST_DIMENSIONS and all(len(each.values) <= FEW_VALUES for each in leaves.dimensions):
        return leaves.along(leaves.dimensions)
    varied = [dimension for dimension in leaves.dimensions if len(np.unique(dimension.codes)) > 1]
    kept = {each.dimension: each for each in screen([leaves.along([each]) for each in varied], drop=drop)}
    chosen = []
    for dimension in varied:
        if dimension.name in kept:
            flags = dict(zip(kept[dimension.name].values, kept[dimension.name].kept, strict=True))
            mask = np.array([flags.get(value, False) for value in dimension.values], np.bool_)
            chosen.append(dimension.only(mask))
    return leaves.along(chosen)


def _evidence(marginal: Leaves, drop: bool) -> Amounts:
    rate = shrunk_rate(marginal)
    sums = (marginal.bad_now, rate * marginal.of_now, marginal.bad_before, rate * marginal.of_before)
    return two_sample_evidence(*(column / marginal.grain for column in sums), drop=drop, least=1.0)


def _keep(marginal: Leaves, evidence: Amounts, number: int) -> Screened:
    dimension = marginal.dimensions[0]
    busy = marginal.bad_now + marginal.bad_before if has_past(marginal) else marginal.of_now
    kept = np.zeros(len(marginal), np.bool_)
    kept[np.lexsort((-busy, -evidence))[:number]] = True
    return Screened(dimension.name, [dimension.values[code] for code in dimension.codes], kept)
