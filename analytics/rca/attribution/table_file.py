"""Leaves from a CSV or Parquet file: one column of times, one of bad counts, one of all counts, the rest dimensions."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from millstream.analytics.rca.attribution.leaves import Amounts, Dimension, Leaves

TIME_NAMES = ("time", "min", "minute", "timestamp", "finished_at", "ts")
BAD_NAMES = ("bad", "value", "failed", "failures", "errors")
OF_NAMES = ("of", "cnt", "count", "attempts", "total")

RECENCY = 0.7
"""Weight of a period of the past against the one after it (cross-validated, docs/rca.md)."""

MOST_VALUES = 10_000
"""A column with more values than this, or with a new one in more than half of its rows, is an id and no dimension."""


class UnreadableTable(ValueError):
    """The file is not such a table; the text says which column or value is wrong."""


@dataclass(frozen=True)
class Columns:
    """Which column is what; None finds it by its usual names. Without an `of` column each row counts once."""

    time: str | None = None
    bad: str | None = None
    of: str | None = None


@dataclass(frozen=True)
class TableFile:
    """A file's rows, by column. Times are in seconds since 1970."""

    path: Path
    times: Amounts
    bad: Amounts
    of: Amounts
    dimensions: list[Dimension]
    left_out: dict[str, str]

    @property
    def period(self) -> float:
        """The smallest distance between two times, in seconds."""
        steps = np.diff(np.unique(self.times))
        return float(steps.min()) if len(steps) else 60.0

    def leaves(self, since: float | None = None, until: float | None = None) -> Leaves:
        """What was bad in [since, until) against everything before it, the recent past counting most.

        `since` is by default the last time in the file, `until` one period later. Raises `UnreadableTable` when no
        row lies in the window.
        """
        since = float(self.times.max()) if since is None else since
        until = since + self.period if until is None else until
        inside, earlier = (self.times >= since) & (self.times < until), self.times < since
        if not inside.any():
            raise UnreadableTable(f"{self.path}: no row is in the window {readable(since)} to {readable(until)}")
        weight = np.where(earlier, RECENCY ** np.floor((since - self.times - 1e-9) / (until - since)), 0.0)
        seen = inside | earlier
        bad, of, now, before = self.bad[seen], self.of[seen], inside[seen], weight[seen]
        dimensions = [replace(dimension, codes=dimension.codes[seen]) for dimension in self.dimensions]
        return Leaves(dimensions, bad * before, of * before, bad * now, of * now).along(dimensions)


def read_table(path: Path, columns: Columns | None = None) -> TableFile:
    """Read `.csv`, `.csv.gz` or `.parquet`. Raises `UnreadableTable` naming what is wrong."""
    table = _read(path)
    columns = columns or Columns()
    time = _named(path, table, columns.time, TIME_NAMES, "time")
    bad = _named(path, table, columns.bad, BAD_NAMES, "bad")
    of = columns.of or next((name for name in OF_NAMES if name in table.column_names), None)
    if of is not None:
        _named(path, table, of, (), "of")
    dimensions, left_out = [], {}
    for name in table.column_names:
        if name in (time, bad, of):
            continue
        dimension = _dimension(name, table.column(name))
        size = len(dimension.values)
        if size > MOST_VALUES or (size > 50 and size > table.num_rows / 2):
            left_out[name] = f"an id: {size:,} values in {table.num_rows:,} rows"
        elif size < 2:
            left_out[name] = "a single value"
        else:
            dimensions.append(dimension)
    if not dimensions:
        raise UnreadableTable(f"{path}: no column is left to be a dimension; columns: {', '.join(table.column_names)}")
    amounts = _numbers(path, table, of) if of else np.ones(table.num_rows)
    return TableFile(path, _times(path, table, time), _numbers(path, table, bad), amounts, dimensions, left_out)


def readable(moment: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
        names = pyarrow.csv.open_csv(path).schema.names
        # Everything is text until its column's role is known: "007" is a value of a dimension, not a number.
        return pyarrow.csv.read_csv(
            path, convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        )
    except (OSError, pa.ArrowException) as error:
        raise UnreadableTable(f"{path}: {error}") from error


def _named(path: Path, table: pa.Table, wanted: str | None, usual: tuple[str, ...], role: str) -> str:
    found = wanted or next((name for name in usual if name in table.column_names), None)
    if found is None or found not in table.column_names:
        looked = wanted or ", ".join(usual)
        raise UnreadableTable(
            f"{path}: no column {looked!r}, name it with --{role}; columns: {', '.join(table.column_names)}"
        )
    return found


def _dimension(name: str, column: pa.ChunkedArray) -> Dimension:
    encoded = pc.fill_null(column.cast(pa.string()), "").combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return Dimension(name, codes, encoded.dictionary.to_pylist())


def _numbers(path: Path, table: pa.Table, name: str) -> Amounts:
    column = table.column(name)
    try:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        numbers: Amounts = column.cast(pa.float64()).to_numpy().astype(np.float64)
    except pa.ArrowException as error:
        raise UnreadableTable(f"{path}, column {name!r}: {error}") from error
    wrong = np.flatnonzero(~np.isfinite(numbers) | (numbers < 0))
    if len(wrong):
        raise UnreadableTable(
            f"{path}, row {wrong[0] + 1}, column {name!r}: {numbers[wrong[0]]} is negative or no number"
        )
    return numbers


def _times(path: Path, table: pa.Table, name: str) -> Amounts:
    column = table.column(name)
    if pa.types.is_timestamp(column.type):
        return _seconds(column)
    try:
        numbers: Amounts = column.cast(pa.float64()).to_numpy().astype(np.float64)
        return numbers
    except pa.ArrowException:
        pass
    try:
        return _seconds(column.cast(pa.timestamp("us")))
    except pa.ArrowException as error:
        raise UnreadableTable(f"{path}, column {name!r}: neither seconds since 1970 nor ISO times: {error}") from error


def _seconds(column: pa.ChunkedArray) -> Amounts:
    seconds: Amounts = column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
    return seconds
