"""What is planted is found with its time and size; quiet days stay quiet."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from millstream.analytics.rca.detection.detection import Deviation, Series, deviations
from millstream.analytics.rca.detection.kinds import Kind, Nature

STEP = timedelta(minutes=5)
A_DAY = 288
START = datetime(2026, 11, 2, tzinfo=UTC)
HISTORY, DAYS = 7, 10
TODAY = START + timedelta(days=HISTORY)

Values = NDArray[np.float64]


def submissions(seed: int, days: int = DAYS) -> Values:
    """About 60 jobs a step, more by day than by night, half at weekends, every day another level, more than Poisson."""
    draw = np.random.default_rng(seed)
    hour = np.arange(days * A_DAY) * 5 / 60
    season = (1 + 0.6 * np.sin(2 * np.pi * (hour - 8) / 24)) * np.where(hour // 24 % 7 >= 5, 0.5, 1)
    level = 60 * season * np.repeat(np.exp(draw.normal(0, 0.1, days)), A_DAY)
    return np.asarray(draw.poisson(draw.gamma(6, level / 6)), float)


def failures(seed: int, of: Values, share: float = 0.02) -> Values:
    return np.random.default_rng(seed).binomial(of.astype(int), share).astype(float)


def waits(seed: int, of: Values) -> Values:
    """The p95 of each step's waits in ms."""
    draw = np.random.default_rng(seed)
    return np.array([np.quantile(draw.lognormal(4, 1, int(n)), 0.95) if n else np.nan for n in of])


def series(nature: Nature, values: Values, trials: Values, start: datetime = START) -> Series:
    return Series(start, STEP, nature, values, trials, floor=50.0 if nature is Nature.SIZE else 0.0)


def only(found: list[Deviation]) -> Deviation:
    assert len(found) == 1, found
    return found[0]


def at(day: int, hour: float) -> int:
    return round(day * A_DAY + hour * 12)


def moment(step: int) -> datetime:
    return START + step * STEP


def near(found: datetime | None, planted: int, steps: int = 2) -> bool:
    return found is not None and abs(found - moment(planted)) <= steps * STEP


def test_a_rise_of_failures_is_found_with_start_end_share_and_excess() -> None:
    jobs = submissions(1)
    failed = failures(1, jobs)
    begin, end = at(8, 10), at(8, 11)
    extra = np.random.default_rng(2).binomial(jobs[begin:end].astype(int), 0.1).astype(float)
    failed[begin:end] += extra
    found = only(deviations(series(Nature.SHARE, failed, jobs), TODAY))
    assert near(found.start, begin) and near(found.end, end)
    assert found.kind is Kind.BURST
    assert found.expected == pytest.approx(0.02, abs=0.01)
    assert found.observed == pytest.approx(0.12, abs=0.03)
    assert found.excess == pytest.approx(extra.sum(), rel=0.2)


def test_what_still_lasts_has_no_end_and_is_a_change_of_level_when_it_lasts_long() -> None:
    jobs = submissions(3)
    slow = waits(3, jobs)
    slow[at(9, 18) :] *= 5
    found = only(deviations(series(Nature.SIZE, slow, jobs), TODAY))
    assert found.kind is Kind.LEVEL and found.end is None
    assert near(found.start, at(9, 18))
    assert found.observed / found.expected == pytest.approx(5, rel=0.3)


def test_a_stall_differs_from_a_drop() -> None:
    starts = submissions(4)
    starts[at(8, 12) : at(8, 12.5)] = 0
    assert only(deviations(series(Nature.COUNT, starts, starts), TODAY, upward=False)).kind is Kind.STALL
    starts[at(8, 12) : at(8, 13.5)] = 8
    assert only(deviations(series(Nature.COUNT, starts, starts), TODAY, upward=False)).kind is Kind.DROP


def test_a_flood_of_submissions_is_a_burst() -> None:
    jobs = submissions(5)
    jobs[at(9, 3) : at(9, 3.5)] *= 6
    found = only(deviations(series(Nature.COUNT, jobs, jobs), TODAY, among=20))
    assert found.kind is Kind.BURST and near(found.start, at(9, 3)) and near(found.end, at(9, 3.5))


def test_the_rise_of_every_morning_is_not_an_incident_but_the_same_rise_at_night_is() -> None:
    morning = np.tile(np.where((np.arange(A_DAY) >= 96) & (np.arange(A_DAY) < 108), 200.0, 20.0), DAYS)
    counted = np.random.default_rng(6).poisson(morning).astype(float)
    assert deviations(series(Nature.COUNT, counted, counted), TODAY) == []
    counted[at(8, 3) : at(8, 4)] = counted[at(8, 8) : at(8, 9)]
    assert near(only(deviations(series(Nature.COUNT, counted, counted), TODAY)).start, at(8, 3))


def test_an_incident_of_yesterday_does_not_make_todays_usual() -> None:
    jobs = submissions(7)
    failed = failures(7, jobs)
    for day in (7, 8):
        failed[at(day, 10) : at(day, 11)] = jobs[at(day, 10) : at(day, 11)] * 0.3
    assert [near(found.start, at(day, 10)) for day, found in zip(
        (7, 8), deviations(series(Nature.SHARE, failed, jobs), TODAY), strict=True
    )] == [True, True]  # fmt: skip


def test_without_a_day_of_history_the_steps_before_are_the_baseline() -> None:
    jobs = np.full(60, 40.0)
    failed = failures(8, jobs, 0.05)
    failed[50:] = 20
    found = only(deviations(series(Nature.SHARE, failed, jobs), START))
    assert near(found.start, 50, 0) and found.end is None


def test_with_no_history_nothing_is_claimed() -> None:
    jobs = np.full(10, 40.0)
    assert deviations(series(Nature.SHARE, jobs, jobs), START) == []


def test_a_certain_but_small_change_is_left_out() -> None:
    jobs = np.full(DAYS * A_DAY, 20_000.0)
    failed = failures(9, jobs, 0.10)
    failed[at(8, 10) : at(8, 12)] *= 1.2
    assert deviations(series(Nature.SHARE, failed, jobs), TODAY) == []
    assert len(deviations(series(Nature.SHARE, failed, jobs), TODAY, least_ratio=1.1)) == 1


def test_quiet_days_stay_quiet() -> None:
    looked = found = 0
    for seed in range(20):
        jobs = submissions(seed)
        for nature, values, upward in (
            (Nature.COUNT, jobs, True),
            (Nature.COUNT, jobs, False),
            (Nature.SHARE, failures(seed, jobs), True),
        ):
            found += len(deviations(series(nature, values, jobs), TODAY, upward=upward, among=20))
            looked += DAYS - HISTORY
    assert looked == 180
    assert found <= 3, f"{found} false alarms in {looked} series-days"
