"""When did a metric leave its usual range?

Each step of a series is compared with the same time of earlier days: their median, so that an old incident does not
count as usual; working days and weekends apart, and each weekday by itself once there are three weeks. The spread is
1.4826 x the median absolute deviation of those steps, at least the chance error of the step's own number of events. The
deviations in units of that spread feed a one-sided CUSUM (Page, Continuous inspection schemes, 1954): noise cancels, a
lasting change adds up; a deviation opens when the sum is beyond chance, and starts where the sum left zero. No I/O.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from millstream.analytics.rca.detection.kinds import Kind, Nature

Values = NDArray[np.float64]

DAY = timedelta(days=1)
WEEKS_FOR_WEEKDAYS = 3
LONGEST_MEMORY_DAYS = 28
NEIGHBOURS = timedelta(minutes=15)
"""An earlier day contributes the steps this close to the same time of day."""

LEVEL_MEMORY = timedelta(days=1)
"""The expected values follow the level of this time before: a lasting change is the new level after half of it."""

PRIOR_TRIALS = 20
"""With so many attempts the share of a step weighs as much as the share of the whole series."""

LEAST_TRAILING_STEPS = 12
"""Without a day of history a step is compared with the steps just before it, at least so many."""

MOST_TRAILING_STEPS = 48
FIRST_WEEKDAY, SATURDAY = 3, 5
"""The first day of 1970 was a Thursday; weekdays count from Monday, 0."""

SCALE_OF_MAD = 1.4826
"""Makes the median absolute deviation of normal values their standard deviation."""

ALLOWANCE = 1.75
"""CUSUM's k: how far a step may deviate, in spreads, before it adds to the sum."""

DECISION = 6.0
"""CUSUM's h for one series: the sum that opens a deviation. It grows with the logarithm of the number of series."""

MOST_A_STEP = 10.0
"""A step adds at most this, so that a deviation ends soon after its cause does."""

CALM, CALM_STEPS = 2.0, 3
"""A deviation ends when so many steps in a row deviate by less than this many spreads."""

LONG = timedelta(hours=2)
"""A deviation that lasts this long is a change of level, a shorter one a burst or a drop."""


@dataclass(frozen=True)
class Series:
    """A metric in equal steps of time; step number i covers [start + i x step, start + (i + 1) x step).

    `values` and `trials` have one entry a step; `trials` is ignored for counts. `floor` is the size below which
    differences do not matter, in the unit of the values.
    """

    start: datetime
    step: timedelta
    nature: Nature
    values: Values
    trials: Values
    floor: float = 0.0


@dataclass(frozen=True)
class Deviation:
    """[start, end) in which a series was unusual; `end` is None when it lasts to the end of the series.

    `observed` and `expected` are means over the deviation, in the unit of the series (a share from 0 to 1). `excess` is
    the number of events beyond the expected ones (negative when there were fewer); for sizes, of events concerned.
    `score` is the largest CUSUM sum, in spreads.
    """

    kind: Kind
    start: datetime
    end: datetime | None
    observed: float
    expected: float
    excess: float
    score: float


@dataclass(frozen=True)
class Usual:
    """The expected value of each step (NaN where the history is too short), and how far each step deviates."""

    expected: Values
    deviation: Values


def deviations(
    series: Series, since: datetime, *, upward: bool = True, least_ratio: float = 1.5, among: int = 1
) -> list[Deviation]:
    """Where the series left its usual range from `since` on; what comes before is history.

    `upward`: look for values above the expected ones, else below. `least_ratio`: the least ratio of the larger to the
    smaller of the two. `among`: the number of series judged together; the more, the more evidence is required.
    """
    first = max(0, round((since - series.start) / series.step))
    usual = expected_values(series, first)
    drift = usual.deviation if upward else -usual.deviation
    return [
        found
        for begin, end, score in _runs(drift, first, DECISION + np.log(max(among, 1)) / ALLOWANCE)
        if (found := _describe(series, usual, begin, end, score, upward, least_ratio)) is not None
    ]


def expected_values(series: Series, first: int) -> Usual:
    """Expected value and deviation of each step from number `first` on; earlier ones are NaN."""
    count = len(series.values)
    expected, deviation = np.full(count, np.nan), np.full(count, np.nan)
    if first >= count:
        return Usual(expected, deviation)
    days = first * series.step // DAY
    centre, scatter = _seasonal(series, first, days) if days >= 1 else _trailing(series, first)
    expected[first:] = _from_scale(series, centre)
    deviation[first:] = (_to_scale(series)[first:] - centre) / _spread(series, first, centre, scatter)
    return Usual(expected, deviation)


def _to_scale(series: Series) -> Values:
    """Values on the scale on which chance errors do not depend on the size: square root, arc sine, logarithm."""
    if series.nature is Nature.COUNT:
        return np.asarray(2 * np.sqrt(series.values + 3 / 8))
    if series.nature is Nature.SHARE:
        share = (series.values + 3 / 8) / (series.trials + 3 / 4)
        return np.where(series.trials > 0, 2 * np.arcsin(np.sqrt(np.clip(share, 0, 1))), np.nan)
    measured = (series.trials > 0) & np.isfinite(series.values)
    return np.where(measured, np.log(np.where(measured, series.values, 1.0) + series.floor + 1e-12), np.nan)


def _from_scale(series: Series, on_scale: Values) -> Values:
    if series.nature is Nature.COUNT:
        return np.asarray(np.maximum((np.maximum(on_scale, 0) / 2) ** 2 - 3 / 8, 0))
    if series.nature is Nature.SHARE:
        return np.asarray(np.sin(np.clip(on_scale, 0, np.pi) / 2) ** 2)
    return np.asarray(np.maximum(np.exp(on_scale) - series.floor, 0))


def _spread(series: Series, first: int, centre: Values, scatter: Values) -> Values:
    """Standard deviation of a step on the scale: that of earlier steps, at least the chance error of its events."""
    if series.nature is Nature.COUNT:
        chance = np.ones(len(centre))
    elif series.nature is Nature.SHARE:
        chance = 1 / np.sqrt(series.trials[first:] + 3 / 4)
    else:
        # A tail quantile of n long-tailed values scatters by about twice 1/sqrt(n) of itself.
        chance = 0.1 + 2 / np.sqrt(np.maximum(series.trials[first:], 1))
    return np.asarray(np.maximum(chance, scatter))


def _seasonal(series: Series, first: int, days: int) -> tuple[Values, Values]:
    """Median and spread over the same time of earlier days of the same kind, at the level of the last day."""
    period = 7 if days >= 7 * WEEKS_FOR_WEEKDAYS else 1
    lags = np.arange(period, min(days, LONGEST_MEMORY_DAYS) + 1, period) * (DAY // series.step)
    wanted = np.arange(max(0, first - LEVEL_MEMORY // series.step), len(series.values))
    centre = _median(_earlier(series, _smoothed(series), wanted, lags))
    reach = NEIGHBOURS // series.step
    near = (lags[:, None] + np.arange(-reach, reach + 1)[None, :]).ravel()
    scatter = _scatter(_earlier(series, _to_scale(series), wanted, near), centre)
    level = _level(_to_scale(series)[wanted] - centre, LEVEL_MEMORY // series.step)
    from_first = first - wanted[0]
    return (centre + level)[from_first:], scatter[from_first:]


def _earlier(series: Series, values: Values, wanted: NDArray[np.int64], lags: NDArray[np.int64]) -> Values:
    """For each wanted step the values so many steps earlier: of working days for a working day, of weekends for one of
    a weekend, of all days while the history has none of its kind. NaN before the start."""
    at = wanted[:, None] - lags[None, :]
    found = np.where(at >= 0, values[np.maximum(at, 0)], np.nan)
    seconds = series.start.timestamp() + np.arange(len(values)) * series.step.total_seconds()
    days = (seconds // DAY.total_seconds()).astype(np.int64)
    weekend = np.asarray((days + FIRST_WEEKDAY) % 7 >= SATURDAY, np.bool_)
    same_sort = np.where(weekend[np.maximum(at, 0)] == weekend[wanted][:, None], found, np.nan)
    known = np.asarray(np.isfinite(same_sort).any(axis=1))
    return np.where(known[:, None], same_sort, found)


def _smoothed(series: Series) -> Values:
    """Each step together with its neighbours, on the scale: pooled events for counts and shares, a median for sizes."""
    reach = NEIGHBOURS // series.step
    if series.nature is Nature.SIZE:
        padded = np.pad(_to_scale(series), reach, constant_values=np.nan)
        return _median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1))
    width = np.ones(2 * reach + 1)
    covered = np.convolve(np.ones(len(series.values)), width, "same")
    values = np.convolve(series.values, width, "same")
    trials = np.convolve(series.trials, width, "same")
    if series.nature is Nature.COUNT:
        values = values / covered
    if series.nature is Nature.SHARE:
        # A step with few attempts shrinks to the share of the whole series.
        values = values + PRIOR_TRIALS * series.values.sum() / max(series.trials.sum(), 1)
        trials = trials + PRIOR_TRIALS
    pooled = Series(series.start, series.step, series.nature, values, trials, series.floor)
    return _to_scale(pooled)


def _level(off_season: Values, memory: int) -> Values:
    """Median deviation of the last `memory` steps before each step from the seasonal value, at most a factor of two."""
    padded = np.pad(off_season[:-1], (memory + 1, 0), constant_values=np.nan)[1:]
    windows = np.lib.stride_tricks.sliding_window_view(padded, memory)
    return np.nan_to_num(_median(windows))


def _trailing(series: Series, first: int) -> tuple[Values, Values]:
    """Median and spread of the steps before each step, for a history shorter than a day."""
    on_scale = _to_scale(series)
    padded = np.pad(on_scale[:-1], (MOST_TRAILING_STEPS, 0), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, MOST_TRAILING_STEPS)[first:]
    enough = np.isfinite(windows).sum(axis=1) >= LEAST_TRAILING_STEPS
    centre = _median(windows)
    return np.where(enough, centre, np.nan), _scatter(windows, centre)


def _median(rows: Values) -> Values:
    """Median of each row without its NaNs; NaN where there is nothing else. (numpy's own is ten times slower here.)"""
    in_order = np.sort(rows, axis=1)
    known = np.isfinite(in_order).sum(axis=1)
    row = np.arange(len(rows))
    middle = (
        in_order[row, np.maximum(known - 1, 0) // 2] + in_order[row, np.minimum(known // 2, rows.shape[1] - 1)]
    ) / 2
    return np.where(known > 0, middle, np.nan)


def _scatter(rows: Values, centre: Values) -> Values:
    return np.nan_to_num(SCALE_OF_MAD * _median(np.abs(rows - centre[:, None])))


def _runs(drift: Values, first: int, decision: float) -> Iterator[tuple[int, int | None, float]]:
    """Begin, end (None while it lasts) and score of each run in which the CUSUM of `drift` passed `decision`."""
    total = score = 0.0
    began = calm = 0
    is_open = False
    for at in range(first, len(drift)):
        step = drift[at]
        if not np.isfinite(step):
            continue
        calm = calm + 1 if step < CALM else 0
        if total == 0.0:
            began = at
        total = max(0.0, total + min(float(step), MOST_A_STEP) - ALLOWANCE)
        if total >= decision:
            is_open = True
        score = max(score, total) if is_open else 0.0
        if is_open and calm >= CALM_STEPS:
            yield began, at - CALM_STEPS + 1, score
            is_open, total, score = False, 0.0, 0.0
    if is_open:
        yield began, None, score


def _describe(
    series: Series, usual: Usual, begin: int, end: int | None, score: float, upward: bool, least_ratio: float
) -> Deviation | None:
    """The deviation in the unit of the series; None when it is certain but too small to matter."""
    part = slice(begin, len(series.values) if end is None else end)
    known = np.isfinite(usual.expected[part]) & np.isfinite(series.values[part])
    values, trials, expected = (each[part][known] for each in (series.values, series.trials, usual.expected))
    if series.nature is Nature.COUNT:
        observed, usually, excess = values.mean(), expected.mean(), float((values - expected).sum())
    elif series.nature is Nature.SHARE:
        observed = values.sum() / max(trials.sum(), 1)
        usually = (expected * trials).sum() / max(trials.sum(), 1)
        excess = float((values - expected * trials).sum())
    else:
        observed, usually = np.average(values, weights=trials), np.average(expected, weights=trials)
        excess = float(trials[values > expected].sum())
    high, low = (observed, usually) if upward else (usually, observed)
    if high + series.floor < least_ratio * (low + series.floor):
        return None
    length = len(series.values[part]) * series.step
    return Deviation(
        _kind(series, values, length, upward),
        series.start + begin * series.step,
        None if end is None else series.start + end * series.step,
        float(observed),
        float(usually),
        excess,
        float(score),
    )


def _kind(series: Series, values: Values, length: timedelta, upward: bool) -> Kind:
    if not upward and series.nature is Nature.COUNT and not values.any():
        return Kind.STALL
    if length >= LONG:
        return Kind.LEVEL
    return Kind.BURST if upward else Kind.DROP
