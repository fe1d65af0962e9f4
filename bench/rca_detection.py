"""Detection: false alarms on quiet days, the share of planted incidents that is found, and how soon.

Quiet series are generated with the properties of real ones: a daily profile, weekends, days that differ, a level that
wanders, counts with more variance than chance, long-tailed waits; few, some and many jobs a step. Given a folder of job
traces, failure rates are also judged on their real arrivals, with the recorded outcomes shuffled so that no incident is
in them. Incidents of 30 minutes are then planted into the same series, one at a time.

false_alarms_per_series_day  by kind of series, with the evidence that detection requires among 60 series
found                        share of the planted incidents that is found, by size
delay_minutes                from the start of an incident until detection reports it, median of those found
start_error_minutes          error of the reported start, median
"""

import csv
import gzip
import random
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from harness import Harness
from numpy.typing import NDArray

from millstream.analytics.rca.detection.detection import Series, deviations
from millstream.analytics.rca.detection.kinds import Kind, Nature

Values = NDArray[np.float64]

STEP = timedelta(minutes=5)
A_DAY = 288
START = datetime(2026, 11, 2, tzinfo=UTC)
HISTORY, LOOKED_AT = 14, 3
JOBS_A_STEP = (3, 30, 300)
AMONG = 60
INCIDENT_STEPS = 6
PLANTED = (
    ("failures x3", Nature.SHARE, True, 3.0),
    ("failures x10", Nature.SHARE, True, 10.0),
    ("waits x3", Nature.SIZE, True, 3.0),
    ("waits x10", Nature.SIZE, True, 10.0),
    ("submissions x4", Nature.COUNT, True, 4.0),
    ("stall", Nature.COUNT, False, 0.0),
)
TRACES = Path(__file__).parents[2] / "shared" / "data" / "jobs"


def main() -> None:
    harness = Harness(__doc__)
    rounds = 4 if harness.quick else 40
    quiet = quiet_days(harness, rounds)
    real = real_arrivals(harness, 2 if harness.quick else 10)
    found, delays, errors = planted(harness, rounds)
    harness.finish(
        {
            "quiet_series_days": rounds * len(JOBS_A_STEP) * LOOKED_AT * 4,
            "false_alarms_per_series_day": quiet,
            "real_arrivals_series_days": real[1],
            "real_arrivals_false_alarms": real[0],
            "found": found,
            "delay_minutes": delays,
            "start_error_minutes": errors,
        }
    )


class Days:
    """One system's quiet days: jobs, failures and p95 waits of each step."""

    def __init__(self, seed: int, jobs_a_step: float) -> None:
        draw = np.random.default_rng(seed)
        steps = (HISTORY + LOOKED_AT) * A_DAY
        hour = np.arange(steps) / 12
        season = (1 + 0.6 * np.sin(2 * np.pi * (hour - 8) / 24)) * np.where(hour // 24 % 7 >= 5, 0.5, 1)
        days = np.repeat(np.exp(draw.normal(0, 0.1, HISTORY + LOOKED_AT)), A_DAY)
        level = jobs_a_step * season * days * np.exp(wandering(draw, steps, 0.15))
        self.draw = draw
        self.jobs: Values = draw.poisson(draw.gamma(4, level / 4)).astype(float)
        self.share: Values = 0.02 * np.exp(np.clip(wandering(draw, steps, 0.3), -1, 1))
        self.failed: Values = draw.binomial(self.jobs.astype(int), self.share).astype(float)
        waits = [np.quantile(draw.lognormal(4, 1, int(jobs)), 0.95) if jobs else np.nan for jobs in self.jobs]
        self.waits: Values = np.array(waits) * np.exp(wandering(draw, steps, 0.2))

    def series(self, nature: Nature) -> Series:
        values = {Nature.COUNT: self.jobs, Nature.SHARE: self.failed, Nature.SIZE: self.waits}[nature]
        return Series(START, STEP, nature, values.copy(), self.jobs.copy(), 50.0 if nature is Nature.SIZE else 0.0)


def wandering(draw: np.random.Generator, steps: int, spread: float) -> Values:
    """A level that moves slowly around 0 with this standard deviation (autoregressive, 0.98 a step)."""
    kicks = draw.normal(size=steps) * spread * np.sqrt(1 - 0.98**2)
    level = np.zeros(steps)
    for number in range(1, steps):
        level[number] = 0.98 * level[number - 1] + kicks[number]
    return level


def alarms(series: Series, upward: bool, end: int | None = None) -> list[tuple[int, int]]:
    """Start and end, as numbers of steps, of the deviations found in the days judged."""
    if end is not None:
        series = Series(series.start, STEP, series.nature, series.values[:end], series.trials[:end], series.floor)
    ratio = 1.5 if series.nature is Nature.SHARE else 2.0
    since = START + timedelta(days=HISTORY)
    # Downward only stalls count, and need no more evidence for being one series among many, as in detection.
    found = deviations(series, since, upward=upward, least_ratio=ratio, among=AMONG if upward else 1)
    found = [each for each in found if upward or each.kind is Kind.STALL]
    last = len(series.values)
    return [((each.start - START) // STEP, (each.end - START) // STEP if each.end else last) for each in found]


def quiet_days(harness: Harness, rounds: int) -> dict[str, float]:
    kinds = {"count_up": (Nature.COUNT, True), "stall": (Nature.COUNT, False)}
    kinds |= {"share": (Nature.SHARE, True), "size": (Nature.SIZE, True)}
    found = dict.fromkeys(kinds, 0)
    with harness.step("quiet days", rounds * len(JOBS_A_STEP)) as advance:
        for seed in range(rounds):
            for jobs_a_step in JOBS_A_STEP:
                days = Days(5000 + seed, jobs_a_step)
                for name, (nature, upward) in kinds.items():
                    found[name] += len(alarms(days.series(nature), upward))
                advance(1)
    looked_at = rounds * len(JOBS_A_STEP) * LOOKED_AT
    return {name: round(count / looked_at, 4) for name, count in found.items()}


def real_arrivals(harness: Harness, rounds: int) -> tuple[int, float]:
    """False alarms of failure rates on the arrivals of real traces, and the number of days judged."""
    traces = sorted(TRACES.glob("*.csv.gz"))
    if not traces:
        harness.say(f"no traces in {TRACES}: real arrivals are left out")
    found, days = 0, 0.0
    with harness.step("real arrivals", rounds * len(traces)) as advance:
        for path in traces:
            moments, outcomes = zip(*trace(path), strict=True)
            steps = int(max(moments) // STEP.total_seconds()) + 1
            jobs = np.bincount([int(at // STEP.total_seconds()) for at in moments], minlength=steps).astype(float)
            for seed in range(rounds):
                dealt = random.Random(seed).sample(outcomes, len(outcomes))
                failed = np.zeros(steps)
                for at, bad in zip(moments, dealt, strict=True):
                    failed[int(at // STEP.total_seconds())] += bad
                first = steps // 2
                series = Series(START, STEP, Nature.SHARE, failed, jobs)
                found += len(deviations(series, START + first * STEP, among=AMONG))
                days += (steps - first) / A_DAY
                advance(1)
    return found, round(days, 1)


def trace(path: Path) -> Iterator[tuple[float, bool]]:
    """Time of submission in seconds, and whether the job failed; a gap of over a day is a gap of the recording."""
    at = 0.0
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at += min(float(row["interval"]), 86_400.0)
            yield at, row["new_status"] != "Pass"


def planted(harness: Harness, rounds: int) -> tuple[dict[str, dict[str, float]], dict[str, float], dict[str, float]]:
    """Share found by jobs a step, delay and error of the start, for each kind of incident."""
    found: dict[str, dict[str, float]] = {}
    delays: dict[str, float] = {}
    errors: dict[str, float] = {}
    with harness.step("planted incidents", rounds * len(JOBS_A_STEP) * len(PLANTED)) as advance:
        for name, nature, upward, times in PLANTED:
            late: list[float] = []
            off: list[float] = []
            found[name] = {}
            for jobs_a_step in JOBS_A_STEP:
                hits = 0
                for seed in range(rounds):
                    days = Days(1000 + seed, jobs_a_step)
                    begin = HISTORY * A_DAY + 100 + seed * 7 % 400
                    hit = look_for(plant(days, nature, times, begin), upward, begin)
                    if hit is not None:
                        hits += 1
                        late.append(hit[0])
                        off.append(hit[1])
                    advance(1)
                found[name][f"{jobs_a_step} jobs a step"] = round(hits / rounds, 3)
            delays[name] = statistics.median(late) if late else float("nan")
            errors[name] = statistics.median(off) if off else float("nan")
    return found, delays, errors


def plant(days: Days, nature: Nature, times: float, begin: int) -> Series:
    series = days.series(nature)
    part = slice(begin, begin + INCIDENT_STEPS)
    if nature is Nature.SHARE:
        share = np.minimum(1, days.share[part] * times)
        series.values[part] = days.draw.binomial(series.trials[part].astype(int), share)
    elif nature is Nature.SIZE:
        series.values[part] *= times
    else:
        series.values[part] = days.draw.poisson(series.values[part] * times)
    return series


def look_for(series: Series, upward: bool, begin: int) -> tuple[float, float] | None:
    """Minutes until the incident is reported, and the error of its reported start in minutes; None if it is missed."""
    minutes = STEP.total_seconds() / 60
    for steps in range(1, INCIDENT_STEPS + 1):
        for first, last in alarms(series, upward, begin + steps):
            if first < begin + steps and last > begin:
                return steps * minutes, abs(first - begin) * minutes
    return None


if __name__ == "__main__":
    main()
