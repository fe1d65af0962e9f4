"""Leaves from the table of attempts: what to count, along which dimensions, in which windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.attribution.leaves import OTHER, Amounts, Dimension, Leaves
from millstream.analytics.rca.attribution.screening import Focus, focus
from millstream.analytics.rca.metrics import THRESHOLDS, Measure, Metric, measure
from millstream.analytics.rca.statements import alias, column, equal, moment, quoted, statement
from millstream.analytics.rca.window import BaselineKind, Window

MOST_VALUES = 1000
"""A dimension with more values than this in a sample of the windows is an id, and names no cause."""

SAMPLED_ROWS = 500_000
"""About how many unremarkable attempts the pass over single dimensions reads."""

LOOKED_ROWS = 400_000
"""About how many attempts are looked at to see which dimensions there are."""

LEAST_DAYS = 3
"""So many earlier days must have attempts in the same hours to be a baseline by themselves."""


@dataclass(frozen=True)
class Attempts:
    """The attempts of an incident and its baseline, ready to be counted for one metric."""

    client: Client
    measure: Measure
    incident: Window
    baseline: tuple[Window, ...]
    where: Mapping[str, str]

    def parts(self) -> dict[str, str]:
        """What the SQL files call $windows, $now, $bad, $counted and $certain."""
        return {
            "windows": any_of(self.incident, *self.baseline),
            "now": self.incident.sql(),
            "bad": self.measure.bad,
            "counted": f"({self.measure.counted}) AND {equal(self.where.items())}",
            "certain": self.measure.certain,
        }

    def dimensions(self) -> tuple[list[str], dict[str, str]]:
        """The columns and labels that can name a cause, and why others were left out."""
        columns = [row[0] for row in self.client.query(statement("dimensions")).result_rows]
        windows, sample = any_of(self.incident, *self.baseline), max(1, self.rows // LOOKED_ROWS)
        keys = self.client.query(statement("label_keys", windows=windows, sample=sample)).result_rows
        labels = [row[0] for row in keys]
        names = [name for name in (*columns, *(f"labels.{key}" for key in labels)) if name not in self.where]
        counts = ", ".join(f"uniq({alias(name)})" for name in names)
        values = ", ".join(f"{column(name)} AS {alias(name)}" for name in names)
        text = statement("value_counts", counts=counts, values=values, windows=windows, sample=sample)
        rows, *sizes = self.client.query(text).result_rows[0]
        left_out = {}
        for name, size in zip(names, sizes, strict=True):
            if size < 2:
                left_out[name] = "a single value"
            elif size > MOST_VALUES or (size > 50 and size > rows / 2):
                left_out[name] = f"an id: {size:,} values in {rows:,} attempts"
        return [name for name in names if name not in left_out], left_out

    def leaves(self, dimensions: Sequence[str]) -> Leaves:
        """Exact leaves along the few dimensions, and their few values, that a first pass finds worth combining."""
        if not dimensions:
            return self._count([])
        return self._count(focus(self.marginals(dimensions), drop=self.measure.direction == "drop"))

    def marginals(self, dimensions: Sequence[str]) -> list[Leaves]:
        """Counts by each dimension alone, of all bad attempts and a sample of the others."""
        names = [alias(name) for name in dimensions]
        text = statement(
            "marginals",
            **self.parts(),
            names=", ".join(names),
            values=", ".join(f"{column(name)} AS {alias(name)}" for name in dimensions),
            sets=", ".join(f"({name}, now)" for name in names),
            sample=max(1, self.rows // SAMPLED_ROWS),
        )
        counts: list[dict[str, Amounts]] = [{} for _ in names]
        every = (1 << len(names)) - 1
        for *values, which, now, bad, attempts in self.client.query(text).result_rows:
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
        text = statement("rough_size", windows=any_of(self.incident, *self.baseline))
        return int(self.client.query(text).result_rows[0][0])

    def _count(self, chosen: Sequence[Focus]) -> Leaves:
        kept = [[value for value, keep in zip(each.values, each.kept, strict=True) if keep] for each in chosen]
        leaf = "toUInt64(0)"
        for each, values in zip(chosen, kept, strict=True):
            listed = ", ".join(quoted(value) for value in values)
            numbers = f"range(1, {len(values) + 1})::Array(UInt64)"
            number = f"transform({column(each.dimension)}, [{listed}], {numbers}, 0::UInt64)"
            leaf = f"({leaf}) * {len(values) + 1} + {number}"
        found = self.client.query(statement("leaves", **self.parts(), leaf=leaf)).result_columns
        leaf_of, now, bad, squares, attempts = (np.asarray(each) for each in found) if found else [np.zeros(0)] * 5
        rest, row = np.unique(leaf_of.astype(np.int64), return_inverse=True)
        table = np.zeros((len(rest), 4))
        np.add.at(table, (row, 2 * now.astype(np.int64)), bad.astype(np.float64))
        np.add.at(table, (row, 2 * now.astype(np.int64) + 1), attempts.astype(np.float64))
        dimensions = []
        for each, values in reversed(list(zip(chosen, kept, strict=True))):
            rest, code = np.divmod(rest, len(values) + 1)
            dimensions.append(Dimension(each.dimension, code, [OTHER, *values]))
        total = float(bad.astype(np.float64).sum())
        grain = float(squares.astype(np.float64).sum()) / total if total else 1.0
        return self._leaves(dimensions[::-1], table, grain=max(grain, 1e-12))

    def _leaves(self, dimensions: list[Dimension], table: Amounts, grain: float) -> Leaves:
        bad_before, of_before, bad_now, of_now = table.reshape(-1, 4).T
        if not self.measure.is_rate:
            of_before = np.full(len(table), sum(window.seconds for window in self.baseline))
            of_now = np.full(len(table), self.incident.seconds)
        return Leaves(dimensions, bad_before, of_before, bad_now, of_now, grain, self.measure.is_rate)


def any_of(*windows: Window) -> str:
    """The condition that an attempt ended in one of the windows."""
    return "(" + " OR ".join(window.sql() for window in windows) + ")"


def attempts_of(
    client: Client, metric: Metric, incident: Window, baseline: tuple[Window, ...], where: Mapping[str, str]
) -> Attempts:
    """The attempts to count for `metric`, with its thresholds or prices looked up."""
    by_kind: dict[str, float] = {}
    if metric in THRESHOLDS:
        threshold = THRESHOLDS[metric]
        # Without a past, what is slow is measured by the incident itself.
        windows = " OR ".join(window.sql("minute") for window in baseline or (incident,))
        text = statement("thresholds", by=threshold.by, stage=threshold.stage, windows=windows)
        by_kind = {kind: float(value) for kind, value in client.query(text).result_rows}
    elif metric == "cost":
        windows = " OR ".join(window.sql("minute") for window in (*baseline, incident))
        text = statement("prices", windows=windows, start=moment(incident.start))
        by_kind = {kind: float(value) for kind, value in client.query(text).result_rows}
    return Attempts(client, measure(metric, by_kind), incident, baseline, where)


def baseline_of(client: Client, incident: Window, kind: BaselineKind) -> tuple[Window, ...]:
    """The windows that a rule makes; windows without attempts are none."""
    if kind in ("auto", "same_hours"):
        text = statement("same_hours", start=moment(incident.start), end=moment(incident.end))
        days = [int(day) for day, _ in client.query(text).result_rows]
        if kind == "same_hours" or len(days) >= LEAST_DAYS:
            return tuple(_shifted(incident, timedelta(days=day)) for day in days)
    previous = _shifted(incident, incident.end - incident.start)
    text = statement("size", now=incident.sql(), windows=previous.sql())
    return (previous,) if int(client.query(text).result_rows[0][1]) else ()


def _shifted(window: Window, by: timedelta) -> Window:
    return Window(window.start - by, window.end - by)
