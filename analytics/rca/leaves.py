"""What an attribution compares: the counts of every combination of dimension values, before and now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Amounts = NDArray[np.float64]


class UnevenLeaves(ValueError):
    """Columns of different lengths, or amounts that are negative or no numbers; the text names the column."""


@dataclass(frozen=True)
class Dimension:
    """One column: leaf `i` has the value `values[codes[i]]`."""

    name: str
    codes: Codes
    values: Sequence[str]

    @classmethod
    def of(cls, name: str, column: Sequence[Any] | NDArray[Any]) -> "Dimension":
        """A dimension from one value for each leaf; NULL is the empty string."""
        texts = np.array(["" if value is None else str(value) for value in column], dtype=object)
        values, codes = np.unique(texts, return_inverse=True) if len(texts) else (texts, np.zeros(0, np.int64))
        return cls(name, codes.astype(np.int64), [str(value) for value in values])


@dataclass(frozen=True)
class Leaves:
    """One row for each combination of dimension values: how much was bad, out of how much, before and now.

    For a rate (failures out of attempts) `bad` is the numerator and `of` the denominator. For an amount without a
    denominator (attempts in a window, money spent) `of` is the length of the window, the same for every leaf of it.
    `grain` is the size of one independent contribution to `bad`, 1 for counts: for an amount x summed over attempts,
    sum(x^2) / sum(x), so that bad / grain has about the variance of a count.
    """

    dimensions: Sequence[Dimension]
    bad_before: Amounts
    of_before: Amounts
    bad_now: Amounts
    of_now: Amounts
    grain: float = 1.0

    def __post_init__(self) -> None:
        amounts = {name: getattr(self, name) for name in ("bad_before", "of_before", "bad_now", "of_now")}
        columns = amounts | {dimension.name: dimension.codes for dimension in self.dimensions}
        for name, column in columns.items():
            if len(column) != len(self.bad_now):
                raise UnevenLeaves(f"column {name!r} has {len(column)} values, bad_now has {len(self.bad_now)}")
        for name, column in amounts.items():
            if not np.all(np.isfinite(column)) or np.any(column < 0):
                raise UnevenLeaves(f"column {name!r} has values that are negative or no numbers")

    def __len__(self) -> int:
        return len(self.bad_now)

    @classmethod
    def of_columns(
        cls, dimensions: Mapping[str, Sequence[Any]], bad_before: Any, of_before: Any, bad_now: Any, of_now: Any
    ) -> "Leaves":
        """Leaves from plain columns. Rows may repeat a combination. Raises `UnevenLeaves`."""
        amounts = (np.asarray(column, np.float64) for column in (bad_before, of_before, bad_now, of_now))
        return cls([Dimension.of(name, column) for name, column in dimensions.items()], *amounts)
