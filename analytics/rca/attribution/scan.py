"""Every combination of up to three dimension values, and how well each explains the change.

A leaf's count is Poisson around a mean that itself wanders by a factor (gamma noise, standard deviation `WANDER`), that
is, negative binomial. If a combination S is the cause, the means of its leaves are `ratio` times the expected ones and
all others are as expected. The log-likelihood ratio against "nothing changed" is, for leaf i with count v, expected e
and shape k = 1 / WANDER^2,

    v ln(ratio) - (v + k) ln((k + ratio e) / (k + e))

and that of S is the largest sum over its leaves for one common ratio. Without the noise (k to infinity) this is the
Poisson scan statistic (Kulldorff 1997), whose evidence grows with the count, so that a busy leaf outvotes all others:
it would prefer the busiest part of the cause to the cause. With the noise, each leaf has a limited vote, and leaves
inside S that did not move vote against S.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from millstream.analytics.rca.attribution.leaves import OTHER, Amounts, Codes, Leaves, Mask, sums_of

WANDER = 0.25
"""Relative standard deviation of a leaf's mean between windows when nothing is wrong (cross-validated, docs/rca.md)."""

ORDER_COST = 1.0
"""Penalty of one more dimension in a name, in nats (cross-validated)."""

LEAST_RATIO = 1 + WANDER
"""A smaller change is never a cause: means wander by as much."""

PRIOR_WEIGHT = 5.0
"""Bad attempts that the expected rate of a whole combination is worth when it has no past, such as a new release."""

BEYOND_CHANCE = 4.0
"""How far above the bar a combination must be, in nats."""

MOST_CANDIDATES = 40

RISES = np.geomspace(1.2, 128.0, 20)
"""Ratios that are tried; the evidence is flat enough between them."""


ADDED = np.geomspace(0.005, 0.98, 20)
"""Shares of the attempts inside a cause that may fail because of it, whatever else fails."""

ADDED_TRUST = 0.8
"""Weight of the evidence for a common added share: real incidents are described better by a common ratio."""


@dataclass(frozen=True)
class Group:
    """All combinations of values of some of the dimensions. `rows[i]` is the combination that leaf `i` belongs to."""

    dimensions: tuple[int, ...]
    rows: Codes
    values: NDArray[np.int64]
    """[combination, dimension] value codes."""

    def sums(self, amounts: Amounts) -> Amounts:
        """Of each combination, over its leaves."""
        return sums_of(self.rows, amounts, len(self.values))


@dataclass(frozen=True)
class Candidate:
    """One combination: which group it is in, its number there, and its score in nats."""

    group: Group
    number: int
    score: float
    explains: float
    """Evidence alone, of a common ratio or a common added share."""

    @property
    def order(self) -> int:
        return len(self.group.dimensions)

    def mask(self) -> Mask:
        """Which leaves it covers."""
        mask: Mask = self.group.rows == self.number
        return mask

    def name(self, leaves: Leaves) -> dict[str, str]:
        """Dimension -> value."""
        chosen = zip(self.group.dimensions, self.group.values[self.number], strict=True)
        return {leaves.dimensions[index].name: leaves.dimensions[index].values[code] for index, code in chosen}


@dataclass(frozen=True)
class Scan:
    """The best candidates, best first.

    `whole` is the evidence that everything changed alike, `bar` what chance may reach, in nats.
    The best of N combinations of pure noise reaches about ln N nats.
    """

    best: Sequence[Candidate]
    whole: float
    bar: float


def groups(leaves: Leaves, most_dimensions: int) -> list[Group]:
    """The combinations of up to `most_dimensions` dimensions that occur, less those that hold everything."""
    found = []
    for order in range(1, most_dimensions + 1):
        for chosen in combinations(range(len(leaves.dimensions)), order):
            key = np.zeros(len(leaves), np.int64)
            for index in chosen:
                key = key * len(leaves.dimensions[index].values) + leaves.dimensions[index].codes
            unique, rows = np.unique(key, return_inverse=True)
            values = np.empty((len(unique), order), np.int64)
            for position in range(order - 1, -1, -1):
                unique, values[:, position] = np.divmod(unique, len(leaves.dimensions[chosen[position]].values))
            if len(values) > 1:
                found.append(Group(chosen, rows, values))
    return found


def scan(leaves: Leaves, mean: Amounts, past: Amounts, within: Sequence[Group], *, drop: bool, alive: Mask) -> Scan:
    """Score every combination over the leaves that are `alive`.

    `mean` is what each leaf is expected to have now, `past` what the same rates give for its past. `drop` looks for
    ratios below one.
    """
    curves = _evidence(leaves, mean, 1 / RISES if drop else RISES) * alive
    added = _evidence_added(leaves, mean) * alive if leaves.is_rate and not drop else curves[:0]
    bar = math.log(max(sum(len(group.values) for group in within), 1)) + BEYOND_CHANCE
    candidates: list[Candidate] = []
    for group in within:
        by_ratio = np.stack([group.sums(curve) for curve in curves]).max(axis=0)
        by_share = np.stack([group.sums(curve) for curve in added]).max(axis=0) if len(added) else by_ratio
        evidence = np.maximum(by_ratio, ADDED_TRUST * by_share)
        full = np.maximum(by_ratio, by_share)
        columns = (leaves.bad_now, mean, leaves.bad_before, past)
        sums = [group.sums(column * alive / leaves.grain) for column in columns]
        possible = _nameable(leaves, group) & (two_sample_evidence(*sums, drop=drop) > bar)
        score = np.where(possible, evidence - ORDER_COST * len(group.dimensions), -np.inf)
        candidates += [
            Candidate(group, int(number), float(score[number]), float(full[number])) for number in _largest(score)
        ]
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.order))
    whole = max(float(each.sum(axis=1).max(initial=0.0)) for each in (curves, added))
    return Scan(candidates[:MOST_CANDIDATES], max(whole, 0.0), bar)


def two_sample_evidence(
    now: Amounts, mean: Amounts, before: Amounts, past: Amounts, *, drop: bool, least: float = LEAST_RATIO
) -> Amounts:
    """Poisson evidence that whole combinations changed against their own past; 0 when by less than the factor `least`.

    Leaves with little past shrink to the effects of their dimensions, so a combination whose values are bad only
    together, and always were, would look as if it had just become so. Its own sum corrects that; a past of few counts
    is weak evidence. Without any past the mean itself is the comparison.
    """
    known = not past.any()
    mean, past = np.maximum(mean, 1e-9), np.maximum(past, 1e-9)
    ratio = (now / mean) / ((before + 1) / (past + 1))
    moved = ratio <= 1 / least if drop else ratio >= least
    before, past = before + PRIOR_WEIGHT, past + PRIOR_WEIGHT
    common = np.ones_like(mean) if known else (now + before) / (mean + past)
    likelihood = _log_likelihood(now, common * mean) + _log_likelihood(before, common * past)
    likelihood -= now + before - common * (mean + past)
    evidence: Amounts = np.where(moved, likelihood, 0.0)
    return evidence


def _evidence(leaves: Leaves, mean: Amounts, ratios: Amounts) -> Amounts:
    """[ratio, leaf] log-likelihood ratios."""
    count, mean, shape = leaves.bad_now / leaves.grain, np.maximum(mean / leaves.grain, 1e-9), WANDER**-2
    ratio = ratios[:, None]
    evidence: Amounts = count * np.log(ratio) - (count + shape) * np.log((shape + ratio * mean) / (shape + mean))
    return evidence


def _evidence_added(leaves: Leaves, mean: Amounts) -> Amounts:
    """[share, leaf] log-likelihood ratios when a share of what would have gone well went wrong.

    An outage adds the same share everywhere, which is a far larger ratio where few attempts fail.
    """
    count, mean, shape = leaves.bad_now, np.maximum(mean, 1e-9), WANDER**-2
    changed = mean + ADDED[:, None] * np.maximum(leaves.of_now - mean, 0.0)
    evidence: Amounts = count * np.log(changed / mean) - (count + shape) * np.log((shape + changed) / (shape + mean))
    return evidence


def _log_likelihood(count: Amounts, mean: Amounts) -> Amounts:
    """count ln(count / mean), 0 where there is no count."""
    likelihood: Amounts = count * np.log(np.maximum(count, 1e-12) / np.maximum(mean, 1e-12))
    return likelihood


def _nameable(leaves: Leaves, group: Group) -> Mask:
    nameable = np.ones(len(group.values), np.bool_)
    for position, index in enumerate(group.dimensions):
        values = leaves.dimensions[index].values
        if OTHER in values:
            nameable &= group.values[:, position] != list(values).index(OTHER)
    return nameable


def _largest(score: Amounts) -> NDArray[np.int64]:
    possible = np.flatnonzero(score > 0)
    return possible[np.argsort(-score[possible], kind="stable")[:MOST_CANDIDATES]]
