"""Where jobs queue, and what limits them: the facts from ClickHouse, and the verdicts on them."""

from dataclasses import dataclass
from datetime import timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.attempt_stats import stats_by
from millstream.analytics.rca.questions.bottleneck_verdicts import BottleneckVerdict, Busy, Facts, Load, judge
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

CAPACITY_FROM = timedelta(hours=6)
"""How far before the window the peak of a worker is looked for."""


@dataclass(frozen=True)
class Bottleneck:
    """The verdicts, with the figures by lane, tenant and type."""

    span: Window
    verdicts: list[BottleneckVerdict]
    facts: Facts


@dataclass(frozen=True)
class _Counts:
    submitted: int
    retries: int
    started: int
    dimension: str


def find_bottleneck(client: Client, span: Window) -> Bottleneck:
    """What delayed the jobs that started, or should have started, in `span`."""
    found = gather(client, span)
    return Bottleneck(span, list(judge(found)), found)


def gather(client: Client, span: Window) -> Facts:
    """Read everything that `judge` needs from ClickHouse."""
    now = window(span.start, span.end)
    before = Window(span.start - (span.end - span.start), span.start)

    def load(by: str) -> list[Load]:
        return ask(client, Load, "rca_load", now | {"by": ("String", by)})

    def busy(by: str) -> list[Busy]:
        return ask(client, Busy, "rca_busy", now | {"by": ("String", by)})

    longer = window(span.start - CAPACITY_FROM, span.end) | {"by": ("String", "worker")}
    peaks = {each.value: each.peak for each in ask(client, Busy, "rca_busy", longer)}
    counts = ask(client, _Counts, "rca_counts", now | {"step_seconds": ("UInt32", "86400")})
    workers, earlier = busy("worker"), stats_by(client, before, "worker_id")
    return Facts(
        load("lane"),
        load("tenant"),
        load("job_type"),
        load("partition"),
        load("worker"),
        workers,
        sum(peaks.get(each.value, each.peak) for each in workers),
        busy("tenant"),
        stats_by(client, span, "job_type"),
        stats_by(client, before, "job_type"),
        sum(each.submitted + each.retries - each.started for each in counts if not each.dimension),
        len({each.value for each in workers} | {each.value for each in earlier}),
    )
