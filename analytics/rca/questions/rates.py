"""Do two rates differ beyond chance?"""

import math
from dataclasses import dataclass

SURE = 3.0
"""Standard errors from which on a difference is real: chance reaches them once in seven hundred comparisons."""


@dataclass(frozen=True)
class Rate:
    """`bad` out of `of`."""

    bad: int
    of: int

    @property
    def share(self) -> float:
        """From 0 to 1; 0 when there were none."""
        return self.bad / self.of if self.of else 0.0


def standard_errors(before: Rate, after: Rate) -> float:
    """How far `after` lies above `before` (negative: below) in standard errors of the difference; 0 without data.

    The score test of two proportions, each with half a case added on either side, so that small counts are weak
    evidence.
    """
    if not before.of or not after.of:
        return 0.0
    first, second = (before.bad + 0.5) / (before.of + 1), (after.bad + 0.5) / (after.of + 1)
    pooled = (before.bad + after.bad + 1) / (before.of + after.of + 2)
    return (second - first) / math.sqrt(pooled * (1 - pooled) * (1 / (before.of + 1) + 1 / (after.of + 1)))
