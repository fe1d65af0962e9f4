"""The input of an attribution: the counts of every combination of dimension values, before and now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Amounts = NDArray[np.float64]
Mask = NDArray[np.bool_]

OTHER = "(other)"
"""Stands for all values without a row of their own; never part of a finding."""


class UnevenLeaves(ValueError):
    """Columns of different lengths, or amounts that are negative or not finite; the text names the column."""


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

    def only(self, kept: Mask) -> "Dimension":
        """The same column with every value that is not `kept` (one flag a value) replaced by `OTHER`."""
        if kept.all():
            return self
        values = [value for value, keep in zip(self.values, kept, strict=True) if keep] + [OTHER]
        code = np.where(kept, np.cumsum(kept) - 1, len(values) - 1)
        return Dimension(self.name, code[self.codes], values)


@dataclass(frozen=True)
class Leaves:
    """One row for each combination of dimension values: how much was bad, out of how much, before and now.

    For a rate (failures out of attempts) `bad` is the numerator and `of` the denominator. For an amount without a
    denominator (attempts in a window, money spent) `of` is the length of the window, the same for every leaf.
    `grain` is the size of one independent contribution to `bad`, 1 for counts: for an amount x summed over attempts,
    sum(x^2) / sum(x), so that bad / grain has about the variance of a count.
    """

    dimensions: Sequence[Dimension]
    bad_before: Amounts
    of_before: Amounts
    bad_now: Amounts
    of_now: Amounts
    grain: float = 1.0
    is_rate: bool = True

    def __post_init__(self) -> None:
        amounts = {name: getattr(self, name) for name in AMOUNTS}
        columns = amounts | {dimension.name: dimension.codes for dimension in self.dimensions}
        for name, column in columns.items():
            if len(column) != len(self.bad_now):
                raise UnevenLeaves(f"column {name!r} has {len(column)} values, bad_now has {len(self.bad_now)}")
        for name, column in amounts.items():
            if not np.all(np.isfinite(column)) or np.any(column < 0):
                raise UnevenLeaves(f"column {name!r} has values that are negative or no numbers")
        if not self.grain > 0:
            raise UnevenLeaves(f"grain is {self.grain}, not above 0")

    def __len__(self) -> int:
        return len(self.bad_now)

    @classmethod
    def of_columns(
        cls, dimensions: Mapping[str, Sequence[Any]], bad_before: Any, of_before: Any, bad_now: Any, of_now: Any
    ) -> "Leaves":
        """Leaves of a rate from plain columns. Rows may repeat a combination. Raises `UnevenLeaves`."""
        before, all_before, now, all_now = (
            np.asarray(column, np.float64) for column in (bad_before, of_before, bad_now, of_now)
        )
        columns = [Dimension.of(name, column) for name, column in dimensions.items()]
        return cls(columns, before, all_before, now, all_now)

    def along(self, dimensions: Sequence[Dimension]) -> "Leaves":
        """These leaves summed over every dimension but the given ones, one leaf for each combination that occurs."""
        rows, shape = np.zeros(len(self), np.int64), 1
        for dimension in dimensions:
            # Renumbering the combinations after each dimension keeps the numbers small.
            seen, rows = np.unique(rows * len(dimension.values) + dimension.codes, return_inverse=True)
            shape = len(seen)
        summed = {name: sums_of(rows, getattr(self, name), shape) for name in AMOUNTS}
        first = np.zeros(shape, np.int64)
        first[rows[::-1]] = np.arange(len(rows))[::-1]
        if not self.is_rate:
            summed["of_before"], summed["of_now"] = self.of_before[first], self.of_now[first]
        columns = [replace(dimension, codes=dimension.codes[first]) for dimension in dimensions]
        bad_before, of_before, bad_now, of_now = (summed[name] for name in AMOUNTS)
        return Leaves(columns, bad_before, of_before, bad_now, of_now, self.grain, self.is_rate)


def sums_of(rows: Codes, amounts: Amounts, size: int) -> Amounts:
    """Sum of the amounts of each of `size` rows; `rows[i]` is where amount `i` belongs."""
    return np.bincount(rows, amounts, size).astype(np.float64, copy=False)


AMOUNTS = ("bad_before", "of_before", "bad_now", "of_now")
