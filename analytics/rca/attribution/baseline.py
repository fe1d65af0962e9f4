"""The bad attempts to expect now, leaf by leaf, if nothing changed.

Each leaf is compared with its own past and the leaves are summed, so that a change of the mix is no cause (Simpson): a
tenant that always fails more and now sends more jobs is expected to fail more. A leaf with little past is drawn to what
its dimensions' values say together (main effects, by iterative proportional fitting), and from there to the total.
"""

import numpy as np

from millstream.analytics.rca.attribution.leaves import Amounts, Leaves, sums_of

PSEUDO_COUNT = 1.0
"""Weight of the prior against a leaf's own past, in bad attempts."""

ROUNDS = 4
"""Passes of the proportional fitting; effects change by less than a percent afterwards."""

EFFECT = 0.25
"""Weight of the main effects in a leaf with little past, as an exponent: 0 shrinks it to the total, 1 to the
effects."""

FARTHEST = 20.0
"""How far the main effects may move a leaf from the total rate, as a factor."""


def shrunk_rate(leaves: Leaves) -> Amounts:
    """Expected `bad` of each leaf per unit of `of`.

    Without any past, a leaf is expected to be like the whole window: the contrast is then with the window's rest.
    """
    if not has_past(leaves):
        total = leaves.bad_now.sum() / max(leaves.of_now.sum(), 1e-12)
        return np.full(len(leaves), total)
    prior = _main_effects(leaves)
    pseudo = PSEUDO_COUNT * leaves.grain
    rate: Amounts = (leaves.bad_before + pseudo) / (leaves.of_before + pseudo / prior)
    return rate


def has_past(leaves: Leaves) -> bool:
    """Whether there is a baseline to compare with at all."""
    return bool(leaves.of_before.sum() > 0 and (leaves.is_rate or leaves.bad_before.sum() > 0))


def _main_effects(leaves: Leaves) -> Amounts:
    total = (leaves.bad_before.sum() + leaves.grain) / (leaves.of_before.sum() + leaves.grain)
    rate = np.full(len(leaves), total)
    for _ in range(ROUNDS):
        for dimension in leaves.dimensions:
            size = len(dimension.values)
            seen = sums_of(dimension.codes, leaves.bad_before, size) + leaves.grain
            fitted = sums_of(dimension.codes, rate * leaves.of_before, size) + leaves.grain
            rate = rate * (seen / fitted)[dimension.codes]
    effect: Amounts = np.clip(rate / total, 1 / FARTHEST, FARTHEST)
    prior: Amounts = total * effect**EFFECT
    return prior
