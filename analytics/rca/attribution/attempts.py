"""Leaves from the table of attempts: what to count, along which dimensions, in which windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.attribution.leaves import OTHER, Amounts, Dimension, Leaves
from millstream.analytics.rca.attribution.screening import Screened, screen
from millstream.analytics.rca.metrics import EXPLAINABLE, AttemptSql, Metric, PerKind, UnknownMetric
from millstream.analytics.rca.window import Window, any_of
from millstream.analytics.sql import column, equal, identifier, moment, quoted, rows, statement

MOST_VALUES = 1000
"""A dimension with more values than this in a sample of the windows is an id, and names no cause."""

SAMPLED_ROWS = 500_000
"""About how many attempts that are not bad the pass over single dimensions reads."""

LOOKED_ROWS = 400_000
"""About how many attempts are read to find the dimensions."""


@dataclass(frozen=True)
class Attempts:
    """The attempts of an incident and its baseline, ready to be counted for one metric."""

    client: Client
    metric: Metric
    sql: AttemptSql
    incident: Window
    baseline: tuple[Window, ...]
    where: Mapping[str, str]

    def parts(self) -> dict[str, str]:
        """What the SQL files call $windows, $now, $bad, $counted and $certain."""
        return {
            "windows": any_of(self.incident, *self.baseline),
            "now": self.incident.sql(),
            "bad": self.sql.bad,
            "counted": f"({self.sql.counted}) AND {equal(self.where.items())}",
            "certain": self.sql.certain,
        }

    def dimensions(self) -> tuple[list[str], dict[str, str]]:
        """The columns and labels that can name a cause, and the reason why each other one was left out."""
        columns = [row[0] for row in rows(self.client, statement("rca/sql/dimensions"))]
        windows, sample = any_of(self.incident, *self.baseline), max(1, self.rows // LOOKED_ROWS)
        keys = statement("rca/sql/label_keys", windows=windows, sample=sample)
        labels = [row[0] for row in rows(self.client, keys)]
        names = [name for name in (*columns, *(f"labels.{key}" for key in labels)) if name not in self.where]
        counts = ", ".join(f"uniq({identifier(name)})" for name in names)
        values = ", ".join(f"{column(name)} AS {identifier(name)}" for name in names)
        text = statement("rca/sql/value_counts", counts=counts, values=values, windows=windows, sample=sample)
        attempts, *sizes = rows(self.client, text)[0]
        left_out = {}
        for name, size in zip(names, sizes, strict=True):
            if size < 2:
                left_out[name] = "a single value"
            elif size > MOST_VALUES or (size > 50 and size > attempts / 2):
                left_out[name] = f"an id: {size:,} values in {attempts:,} attempts"
        return [name for name in names if name not in left_out], left_out

    def leaves(self, dimensions: Sequence[str]) -> Leaves:
        """Exact leaves along the few dimensions and values that the screening selects."""
        if not dimensions:
            return self._count([])
        return self._count(screen(self.marginals(dimensions), drop=self.metric.direction == "drop"))

    def marginals(self, dimensions: Sequence[str]) -> list[Leaves]:
        """Counts by each dimension alone, of all bad attempts and a sample of the others."""
        names = [identifier(name) for name in dimensions]
        text = statement(
            "rca/sql/marginals",
            **self.parts(),
            names=", ".join(names),
            values=", ".join(f"{column(name)} AS {identifier(name)}" for name in dimensions),
            sets=", ".join(f"({name}, now)" for name in names),
            sample=max(1, self.rows // SAMPLED_ROWS),
        )
        counts: list[dict[str, Amounts]] = [{} for _ in names]
        every = (1 << len(names)) - 1
        for *values, which, now, bad, attempts in rows(self.client, text):
            index = len(names) - (every & ~which).bit_length()
            row = counts[index].setdefault(values[index], np.zeros(4))
            row[2 * int(now) : 2 * int(now) + 2] += (bad, attempts)
        return [
            self._leaves([Dimension(name, np.arange(len(rows)), list(rows))], np.array(list(rows.values())), grain=1.0)
            for name, rows in zip(dimensions, counts, strict=True)
        ]

    @cached_property
    def rows(self) -> int:
        """About how many attempts lie in the windows."""
        text = statement("rca/sql/rough_size", windows=any_of(self.incident, *self.baseline))
        return int(rows(self.client, text)[0][0])

    def _count(self, chosen: Sequence[Screened]) -> Leaves:
        kept = [[value for value, keep in zip(each.values, each.kept, strict=True) if keep] for each in chosen]
        leaf = "toUInt64(0)"
        for each, values in zip(chosen, kept, strict=True):
            listed = ", ".join(quoted(value) for value in values)
            numbers = f"range(1, {len(values) + 1})::Array(UInt64)"
            number = f"transform({column(each.dimension)}, [{listed}], {numbers}, 0::UInt64)"
            leaf = f"({leaf}) * {len(values) + 1} + {number}"
        counted = rows(self.client, statement("rca/sql/leaves", **self.parts(), leaf=leaf))
        leaf_of, now, bad, squares, attempts = np.array(counted, np.float64).reshape(-1, 5).T
        rest, row = np.unique(leaf_of.astype(np.int64), return_inverse=True)
        table = np.zeros((len(rest), 4))
        np.add.at(table, (row, 2 * now.astype(np.int64)), bad)
        np.add.at(table, (row, 2 * now.astype(np.int64) + 1), attempts)
        dimensions = []
        for each, values in reversed(list(zip(chosen, kept, strict=True))):
            rest, code = np.divmod(rest, len(values) + 1)
            dimensions.append(Dimension(each.dimension, code, [OTHER, *values]))
        total = float(bad.sum())
        grain = float(squares.sum()) / total if total else 1.0
        return self._leaves(dimensions[::-1], table, grain=max(grain, 1e-12))

    def _leaves(self, dimensions: list[Dimension], table: Amounts, grain: float) -> Leaves:
        bad_before, of_before, bad_now, of_now = table.reshape(-1, 4).T
        if not self.sql.is_rate:
            of_before = np.full(len(table), sum(window.seconds for window in self.baseline))
            of_now = np.full(len(table), self.incident.seconds)
        return Leaves(dimensions, bad_before, of_before, bad_now, of_now, grain, self.sql.is_rate)


def attempts_of(
    client: Client, metric: Metric, incident: Window, baseline: tuple[Window, ...], where: Mapping[str, str]
) -> Attempts:
    """The attempts to count for `metric`, with its thresholds or prices looked up. Raises `UnknownMetric` for a metric
    that attempts cannot explain."""
    sql = metric.attempts
    if sql is None:
        raise UnknownMetric(f"{metric.name} cannot be explained by attempts; one of {', '.join(EXPLAINABLE)} can")
    if sql.per_kind is not None:
        number = _number_of_kind(sql.per_kind, _numbers(client, sql.per_kind, incident, baseline))
        sql = replace(sql, bad=sql.bad.replace("{per_kind}", number), certain=sql.certain.replace("{per_kind}", number))
    return Attempts(client, metric, sql, incident, baseline, where)


def _numbers(client: Client, per_kind: PerKind, incident: Window, baseline: tuple[Window, ...]) -> dict[str, float]:
    # Without a baseline, the threshold is that of the incident itself.
    read = (*baseline, incident) if per_kind.in_incident or not baseline else baseline
    windows = " OR ".join(window.sql("minute") for window in read)
    text = statement(f"rca/sql/{per_kind.file}", windows=windows, start=moment(incident.start), **per_kind.parts)
    return {kind: float(number) for kind, number in rows(client, text)}


def _number_of_kind(per_kind: PerKind, numbers: Mapping[str, float]) -> str:
    """SQL for the number of an attempt's kind; for a kind without one, the middle of all numbers."""
    if not numbers:
        return "0.0"
    kinds = ", ".join(quoted(kind) for kind in numbers)
    listed = ", ".join(f"{number:.17g}" for number in numbers.values())
    middle = sorted(numbers.values())[len(numbers) // 2]
    return f"transform({per_kind.kind}, [{kinds}], [{listed}]::Array(Float64), {middle:.17g}::Float64)"
