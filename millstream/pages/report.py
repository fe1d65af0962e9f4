"""The report on a window of time: throughput, latency, failures, cost, and the timeline of one job.

Every figure comes from a view in ClickHouse (`analytics/warehouse/views/`), so `millstream sql` returns the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client
from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from millstream.analytics import queries
from millstream.analytics.queries import (
    AttemptCounts,
    Failures,
    Latency,
    TenantCost,
    Throughput,
    TimelineStep,
)
from millstream.pages.format import MOST_ROWS, bar, duration, percent, rate, window_text
from millstream.pages.time_plot import Line, time_plot
from millstream.terminal import cell, styled
from millstream.visible import visible

PLOT_WIDTH, PLOT_HEIGHT = 100, 16
WIDE = 110
"""Columns of the terminal from which on bars are drawn beside the figures."""

TIMELINE_WIDTH = 40
STAGES = {"queue_wait": "queue wait", "run": "run", "total": "total"}


@dataclass(frozen=True)
class Report:
    """The answers for [start, end). `timeline` is that of an example job: a failed one if there is any."""

    start: datetime
    end: datetime
    step_seconds: int
    counts: AttemptCounts
    throughput: list[Throughput]
    latency: list[Latency]
    failures: list[Failures]
    costs: list[TenantCost]
    job_id: str
    timeline: list[TimelineStep]


def gather(client: Client, start: datetime, end: datetime) -> Report:
    """Run the queries of the report."""
    step = max(1, round((end - start).total_seconds() / (PLOT_WIDTH - 20)))
    job_id = queries.example_job(client, start, end)
    return Report(
        start,
        end,
        step,
        queries.attempt_counts(client, start, end),
        queries.throughput(client, start, end, step),
        queries.latency(client, start, end),
        queries.failures(client, start, end),
        queries.cost_by_tenant(client, start, end),
        job_id or "",
        queries.job_timeline(client, job_id) if job_id else [],
    )


def render(report: Report, width: int) -> RenderableType:
    """The report for a terminal of `width` columns."""
    if not report.counts.attempts:
        window = window_text(report.start, report.end)
        return Panel(Text(f"No job ended in the window {window}."), title=Text("Millstream report"), title_align="left")
    return Group(*_sections(report, width))


def _sections(report: Report, width: int) -> Iterator[RenderableType]:
    yield _headline(report)
    yield _section("Throughput over time", _plot(report, min(width, PLOT_WIDTH)))
    yield _section("Latency by stage", _latency(report.latency))
    yield _section("Failures by tenant and type", _failures(report.failures, width >= WIDE))
    yield _section("Cost by tenant, and what was wasted", _costs(report.costs))
    if report.timeline:
        yield _section(
            visible(f"Timeline of job {report.job_id}"),
            _timeline(report.timeline, TIMELINE_WIDTH if width >= WIDE else TIMELINE_WIDTH // 3),
        )


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(), Text(title, style="bold"), body)


def _headline(report: Report) -> RenderableType:
    counts = report.counts
    failed = sum(each.failed + each.timed_out for each in report.failures)
    seconds = (report.end - report.start).total_seconds()
    line = styled(
        (f"{counts.jobs:,}", "bold"),
        " jobs, ",
        (f"{counts.attempts:,}", "bold"),
        f" attempts in {duration(seconds * 1000)} (",
        (rate(counts.attempts, max(seconds, 1.0)), "bold"),
        "), ",
        (f"{failed:,} failed ({percent(failed / counts.attempts)})", "red" if failed else "green"),
    )
    window = window_text(report.start, report.end)
    return Panel(line, title=Text(f"Millstream report, {window}"), title_align="left", box=box.ROUNDED)


def _plot(report: Report, width: int) -> RenderableType:
    step = report.step_seconds
    steps = _every_step(report)
    lines = [
        Line([(at, each.submitted / step if each else 0.0) for at, each in steps], "blue", "submitted/s"),
        Line([(at, each.finished_per_s if each else 0.0) for at, each in steps], "green", "finished/s"),
    ]
    if any(each.failed for each in report.throughput):
        lines.append(Line([(at, each.failed / step if each else 0.0) for at, each in steps], "red", "failed/s"))
    return time_plot(lines, (report.start, report.end), width, PLOT_HEIGHT)


def _every_step(report: Report) -> list[tuple[datetime, Throughput | None]]:
    """The steps of the whole window; None for one in which nothing happened, of which there is no row."""
    step = timedelta(seconds=report.step_seconds)
    found = {each.step: each for each in report.throughput}
    at = datetime.fromtimestamp(report.start.timestamp() // report.step_seconds * report.step_seconds, UTC)
    steps = []
    while at < report.end:
        steps.append((at, found.get(at)))
        at += step
    return steps


def _latency(latencies: list[Latency]) -> RenderableType:
    table = _table("stage", "attempts", "mean", "p50", "p90", "p95", "p99", "max")
    by_stage = {each.stage: each for each in latencies}
    for stage, title in STAGES.items():
        if row := by_stage.get(stage):
            values = (row.mean_ms, row.p50_ms, row.p90_ms, row.p95_ms, row.p99_ms, row.max_ms)
            table.add_row(title, f"{row.attempts:,}", *map(duration, values))
    return table


def _failures(failures: list[Failures], wide: bool) -> RenderableType:
    if not failures:
        return Text("none", style="green")
    table = _table("tenant", "job type", "attempts", "failed", "rate", "", "most frequent error", left=(0, 1, 5, 6))
    table.columns[6].ratio = 1
    table.expand = True
    for row in failures[:MOST_ROWS]:
        error = f"{row.top_error}: {row.top_error_message}"
        rate = Text(percent(row.failure_rate), "red" if row.failure_rate > 0.1 else "")
        drawn = Text(bar(row.failure_rate, 10) if wide else "", style="red")
        table.add_row(
            cell(row.tenant),
            cell(row.job_type),
            f"{row.attempts:,}",
            f"{row.failed + row.timed_out:,}",
            rate,
            drawn,
            cell(error),
        )
    if len(failures) > MOST_ROWS:
        table.caption = f'and {len(failures) - MOST_ROWS} more: millstream sql "SELECT * FROM failures(...)"'
    return table


def _costs(costs: list[TenantCost]) -> RenderableType:
    table = _table("tenant", "attempts", "vCPU hours", "cost", "wasted", "wasted share", "")
    for row in costs[:MOST_ROWS]:
        share = percent(row.wasted_share)
        table.add_row(
            cell(row.tenant),
            f"{row.attempts:,}",
            f"{row.slot_hours:.4f}",
            cell(f"{row.cost:.6f} {row.currency}"),
            f"{row.wasted_cost:.6f}",
            share,
            Text(bar(row.wasted_share, 12), style="yellow"),
        )
    if len(costs) > MOST_ROWS:
        table.caption = f'and {len(costs) - MOST_ROWS} more: millstream sql "SELECT * FROM cost_by_tenant(...)"'
    return table


def _timeline(steps: list[TimelineStep], width: int) -> RenderableType:
    last = max(each.since_submit_ms for each in steps) or 1.0
    first = steps[0]
    table = _table("after", "", "event", "attempt", "where", "what", left=(1, 2, 4, 5))
    table.title = cell(f"{first.job_type} of {first.tenant} on lane {first.lane}")
    table.title_justify = "left"
    table.columns[5].ratio = 1
    table.expand = True
    for each in steps:
        position = round(each.since_submit_ms / last * (width - 1))
        track = Text("─" * position + "●" + "┄" * (width - 1 - position), style="cyan")
        where = f"{each.worker_id} {each.worker_version}".strip()
        what = cell(_what(each))
        table.add_row(duration(each.since_submit_ms), track, cell(each.kind), str(each.attempt), cell(where), what)
    return table


def _what(step: TimelineStep) -> str:
    if step.error_type and step.kind != "dead_lettered":
        return f"{step.error_type}: {step.error_message}"[:70]
    if step.kind == "started" and step.wait_ms is not None:
        return f"waited {duration(step.wait_ms)}"
    if step.run_ms is not None:
        return f"ran {duration(step.run_ms)}"
    return step.message


def _table(*columns: str, left: tuple[int, ...] = (0,)) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", caption_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index in left else "right", no_wrap=True)
    return table
