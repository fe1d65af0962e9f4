"""Counts, failure rates and durations of the attempts of a window, by one dimension."""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.rates import Rate
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window


@dataclass(frozen=True)
class AttemptStats:
    """Attempts of one value of a dimension: counts, shares from 0 to 1, milliseconds."""

    value: str
    attempts: int
    jobs: int
    failed: int
    failure_rate: float
    retries: int
    wait_p50_ms: float
    wait_p95_ms: float
    run_p50_ms: float
    run_p95_ms: float
    cpu_share: float
    busy_slots: float

    @property
    def failures(self) -> Rate:
        return Rate(self.failed, self.attempts)


NO_ATTEMPTS = AttemptStats("", 0, 0, 0, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def stats_by(client: Client, span: Window, dimension: str) -> list[AttemptStats]:
    """One row for each value of `dimension`, a column of `job_attempts` or a label; most attempts first."""
    return ask(client, AttemptStats, "rca_metrics", window(span.start, span.end) | {"by": ("String", dimension)})


def stats(client: Client, span: Window) -> AttemptStats:
    """All attempts of a window together."""
    return next(iter(stats_by(client, span, "")), NO_ATTEMPTS)
