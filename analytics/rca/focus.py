"""Which dimensions and values deserve a closer look, from one-dimensional counts alone.

A combination that changed shows in the totals of each of its values, if weaker. So one cheap pass over single
dimensions says which few dimensions, and which values of them, the costly pass over combinations must tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millstream.analytics.rca.baseline import has_past, shrunk_rate
from millstream.analytics.rca.leaves import Dimension, Leaves, Mask
from millstream.analytics.rca.scan import two_sample_evidence

MOST_DIMENSIONS = 6
MOST_VALUES = 40


@dataclass(frozen=True)
class Focus:
    """One dimension to look at and which of its values (the others count together)."""

    dimension: str
    values: Sequence[str]
    kept: Mask
    evidence: float


def focus(marginals: Sequence[Leaves], *, drop: bool) -> list[Focus]:
    """The dimensions worth combining, most telling first. Each of `marginals` has one dimension, one leaf a value."""
    found = [_look(marginal, marginal.dimensions[0], drop) for marginal in marginals]
    found.sort(key=lambda each: -each.evidence)
    return found[:MOST_DIMENSIONS]


def narrowed(leaves: Leaves, *, drop: bool) -> Leaves:
    """The same leaves along the dimensions worth combining, in their given order; constant ones are left out."""
    varied = [dimension for dimension in leaves.dimensions if len(np.unique(dimension.codes)) > 1]
    if len(varied) <= MOST_DIMENSIONS and all(len(each.values) <= MOST_VALUES for each in varied):
        return leaves.along(varied)
    kept = {each.dimension: each for each in focus([leaves.along([each]) for each in varied], drop=drop)}
    chosen = []
    for dimension in varied:
        if dimension.name in kept:
            flags = dict(zip(kept[dimension.name].values, kept[dimension.name].kept, strict=True))
            mask = np.array([flags.get(value, False) for value in dimension.values], np.bool_)
            chosen.append(dimension.only(mask))
    return leaves.along(chosen)


def _look(marginal: Leaves, dimension: Dimension, drop: bool) -> Focus:
    rate = shrunk_rate(marginal)
    sums = (marginal.bad_now, rate * marginal.of_now, marginal.bad_before, rate * marginal.of_before)
    evidence = two_sample_evidence(*(column / marginal.grain for column in sums), drop=drop)
    busy = marginal.bad_now + marginal.bad_before if has_past(marginal) else marginal.of_now
    order = np.lexsort((-busy, -evidence))
    kept = np.zeros(len(marginal), np.bool_)
    kept[order[:MOST_VALUES]] = True
    values = [dimension.values[code] for code in dimension.codes]
    return Focus(dimension.name, values, kept, float(evidence.max(initial=0.0)))
