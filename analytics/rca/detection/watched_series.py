"""Reads the series of each metric from ClickHouse, by dimension, with the history that they are judged by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.detection.detection import DAY, LONGEST_MEMORY_DAYS, Series
from millstream.analytics.rca.metrics import METRICS, Metric, SeriesSource
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import Arguments, read_view, window

STEP = timedelta(minutes=5)
LEAST_EVENTS = 100
"""A series with fewer events than this in its window and history is too sparse to be watched."""

Rows = Sequence[tuple[datetime, str, str, float, float]]
"""Step, dimension, value of the dimension, value and trials of the series; the steps of a series follow each other."""


@dataclass(frozen=True)
class WatchedSeries:
    """The series of one metric for one value of a dimension; both are empty for all jobs."""

    metric: Metric
    dimension: str
    value: str
    series: Series

    @property
    def name(self) -> str:
        """`tenant=acme`, or the empty string for all jobs."""
        return f"{self.dimension}={self.value}" if self.dimension else ""


def watched_series(
    client: Client, span: Window, step: timedelta = STEP, metrics: Sequence[Metric] = METRICS
) -> Iterator[WatchedSeries]:
    """Every series of `metrics` with enough events, with its history. Raises `ValueError` for a step that is not a
    whole number of minutes that divides the day."""
    seconds = round(step.total_seconds())
    if seconds < 60 or seconds % 60 or DAY % step:
        raise ValueError(f"a step of {step} is not a whole number of minutes that divides the day")
    end = datetime.fromtimestamp(span.end.timestamp() // seconds * seconds, UTC)
    arguments = window(span.start - LONGEST_MEMORY_DAYS * DAY, end) | {"step_seconds": ("UInt32", str(seconds))}
    for metric in metrics:
        rows = _read(client, metric.source, arguments)
        first = min((at for at, *_ in rows), default=end)
        for (dimension, value), group in groupby(rows, lambda row: (row[1], row[2])):
            series = _series(metric.source, list(group), first, end, step)
            if np.nansum(series.trials) >= LEAST_EVENTS:
                yield WatchedSeries(metric, dimension, value, series)


def _read(client: Client, source: SeriesSource, arguments: Arguments) -> list[Any]:
    columns = ("step", "dimension", "value", source.values, source.trials)
    bound = {name: ("String", value) for name, value in source.arguments.items()}
    return read_view(client, columns, source.view, {**arguments, **bound})


def _series(source: SeriesSource, rows: Rows, first: datetime, end: datetime, step: timedelta) -> Series:
    values = np.zeros(max(0, (end - first) // step))
    trials = np.zeros(len(values))
    for at, _, _, value, tried in rows:
        number = (at - first) // step
        values[number], trials[number] = value, tried
    return Series(first, step, source.nature, values, trials, source.floor)
