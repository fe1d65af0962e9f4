"""`millstream simulate`"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import plotext
import typer
from clickhouse_connect.driver.client import Client
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millstream import settings as settings_module
from millstream.analytics.simulation import Arrival, Outcome, Scenario, Unserved, simulate
from millstream.cli.options import AsJson
from millstream.cli.output import Failure, answer, err, out
from millstream.clickhouse import connect

MOST_JOBS = 300_000
PLOT_HEIGHT = 16
WINDOW = "finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}"


def simulate_command(
    start: Annotated[datetime, typer.Option("--from", help="Start of the recorded window, UTC.")],
    end: Annotated[datetime, typer.Option("--to", help="End of the window, UTC, exclusive.")],
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="workers=8,concurrency=10,price=0.192 and lane=N for workers that read that lane only."),
    ] = None,
    urgent: Annotated[str, typer.Option(help="Lanes, most urgent first, where urgency is to count.")] = "",
    overhead_ms: Annotated[float, typer.Option(min=0, help="The platform's own time for each job, in ms.")] = 0,
    as_json: AsJson = False,
) -> None:
    """What if there had been other workers? Replays recorded first attempts through a model of lanes and workers.

    Without --scenario: the workers that the window had, half as many, and twice as many.

    Examples:

      millstream simulate --from 2026-11-24T10:00:00 --to 2026-11-24T11:00:00

      millstream simulate --from 2026-11-24T10:00:00 --to 2026-11-24T11:00:00 --scenario workers=4,concurrency=20,high=1
    """
    settings = settings_module.load()
    client = connect(settings)
    window = {"from": f"{start:%Y-%m-%d %H:%M:%S}", "to": f"{end:%Y-%m-%d %H:%M:%S}"}
    arrivals = recorded(client, window)
    if not arrivals:
        raise Failure(f"no attempt ended between {start} and {end} UTC", "choose a window with work in it")
    common = {
        "urgency": tuple(filter(None, urgent.split(","))),
        "overhead_s": overhead_ms / 1000,
        "partitions": settings.topics.partitions,
    }
    try:
        scenarios = [_parsed(text, common) for text in scenario or []] or _usual(client, window, common)
        outcomes = []
        for each in scenarios:
            err.print(f"[dim]replaying {len(arrivals):,} jobs: {each.name}[/]")
            outcomes.append(simulate(arrivals, each))
    except (ValueError, Unserved) as error:
        raise Failure(str(error), "a scenario is written as workers=8,concurrency=10,price=0.192,high=2", 2) from error
    answer(as_json, [_plain(each) for each in outcomes], lambda: _rendered(arrivals, outcomes))


def recorded(client: Client, window: dict[str, str]) -> list[Arrival]:
    """First attempts that ended in the window, by arrival; at most 300,000, the first ones."""
    rows = client.query(
        "SELECT toUnixTimestamp64Micro(submitted_at) / 1000000, lane, ifNull(run_ms, 0) / 1000 FROM job_attempts "
        f"WHERE attempt = 1 AND {WINDOW} ORDER BY submitted_at LIMIT {MOST_JOBS}",
        parameters=window,
    ).result_rows
    first = rows[0][0] if rows else 0
    return [Arrival(at - first, str(lane), run) for at, lane, run in rows]


def _usual(client: Client, window: dict[str, str], common: dict[str, object]) -> list[Scenario]:
    workers, capacity = client.query(
        "SELECT uniqExact(worker_id), round(sum(capacity_s) / sum(up_s)) FROM worker_usage "
        "WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}",
        parameters=window,
    ).result_rows[0]
    if not workers:
        raise Failure("no worker told of itself in this window", "name the workers with --scenario")
    price = client.query(
        "SELECT avg(price_per_hour) FROM machine_prices(from = {from:DateTime64(6, 'UTC')}, "
        "to = {to:DateTime64(6, 'UTC')})",
        parameters=window,
    ).result_rows[0][0]
    counts = {"as it was": workers, "half": max(1, workers // 2), "twice": 2 * workers}
    return [
        Scenario(f"{name}: {count}x{capacity:g}", count, int(capacity), price or 0.0, **common)  # type: ignore[arg-type]
        for name, count in counts.items()
    ]


def _parsed(text: str, common: dict[str, object]) -> Scenario:
    given = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is not NAME=VALUE")
        given[name.strip()] = float(value)
    workers, concurrency = given.pop("workers", 1), given.pop("concurrency", 100)
    price = given.pop("price", 0.0)
    kept = {lane: int(number) for lane, number in given.items()}
    return Scenario(text, int(workers), int(concurrency), price, kept, **common)  # type: ignore[arg-type]


def _plain(outcome: Outcome) -> dict[str, object]:
    found = asdict(outcome)
    del found["waits_s"]
    return found


def _rendered(arrivals: list[Arrival], outcomes: list[Outcome]) -> RenderableType:
    table = Table("scenario", "lane", box=None, pad_edge=False, header_style="bold")
    for name in ("jobs", "wait p50", "wait p95", "wait p99", "longest", "utilisation", "cost"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        rows = [("all", outcome.waits), *(outcome.by_lane.items() if len(outcome.by_lane) > 1 else ())]
        for lane, waits in rows:
            whole = lane == "all"
            table.add_row(
                outcome.scenario.name if whole else "",
                lane,
                f"{waits.jobs:,}",
                *(f"{value:,.3f} s" for value in (waits.p50_s, waits.p95_s, waits.p99_s, waits.max_s)),
                f"{outcome.utilisation:.1%}" if whole else "",
                f"{outcome.cost:,.4f}" if whole else "",
            )
    return Group(table, Text(), _plot(arrivals, outcomes))


def _plot(arrivals: list[Arrival], outcomes: list[Outcome]) -> RenderableType:
    """The longest wait among the jobs that arrived in each of a hundred steps."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plot_size(min(out.width, 100), PLOT_HEIGHT)
    step = max(arrivals[-1].at_s / 100, 0.001)
    for outcome in outcomes:
        longest: dict[int, float] = {}
        for arrival, wait in zip(arrivals, outcome.waits_s, strict=True):
            at = int(arrival.at_s / step)
            longest[at] = max(wait, longest.get(at, 0.0))
        plotext.plot([at * step for at in longest], list(longest.values()), label=outcome.scenario.name)
    plotext.ylim(0, None)
    plotext.xlabel("arrival in the window, s; longest wait, s")
    return Text.from_ansi(plotext.build())
