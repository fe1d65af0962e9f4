"""`millstream simulate`"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated

import plotext
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millstream import settings as settings_module
from millstream.analytics.simulation import replay
from millstream.analytics.simulation.replay import Jobs, Workers
from millstream.analytics.simulation.simulation import Arrival, Scenario, SimulatedRun, Unserved, simulate
from millstream.cli.failure import Failure
from millstream.cli.options import AsJson
from millstream.cli.output import answer, err, out
from millstream.cli.scenarios import parsed, urgency
from millstream.cli.timespan import From, Last, To, timespan
from millstream.clickhouse import connect
from millstream.pages.format import window_text
from millstream.terminal import cell, styled

PLOT_HEIGHT = 16


def simulate_command(
    last: Last = "1h",
    start: From = None,
    end: To = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="workers=8 (1 without it), concurrency=10 (100), price=0.192 of one worker an hour (without it, what "
            "one cost in the window) and LANE=N for workers that read that lane only."
        ),
    ] = None,
    urgent: Annotated[
        str, typer.Option(help="Lanes in order of urgency, most urgent first; without it all lanes are equal.")
    ] = "",
    overhead_ms: Annotated[float, typer.Option(min=0, help="Overhead of the platform for each job, in ms.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Simulate other numbers of workers: replays recorded first attempts through a model of lanes and workers.

    Without --scenario: the workers that the window had, half as many, and twice as many.

    Examples:

      millstream simulate --last 1h

      millstream simulate --from 2026-11-24T10:00:00 --to 2026-11-24T11:00:00 --scenario workers=4,concurrency=20,high=1
    """
    settings = settings_module.load()
    client = connect(settings)
    since, until = timespan(last, start, end)
    window = {"from": f"{since:%Y-%m-%d %H:%M:%S}", "to": f"{until:%Y-%m-%d %H:%M:%S}"}
    jobs, fleet = replay.jobs(client, window), replay.workers(client, window)
    if not jobs.arrivals:
        raise Failure(
            f"no first attempt ended in the window {window_text(since, until)}", "choose a window with work in it"
        )
    known = list(dict.fromkeys((*settings.topics.lanes, *sorted({job.lane for job in jobs.arrivals}))))
    try:
        usual = Scenario(
            "usual",
            workers=1,
            concurrency=100,
            price_per_hour=fleet.price_per_hour,
            urgency=urgency(urgent, known),
            partitions=settings.topics.partitions,
            overhead_s=overhead_ms / 1000,
        )
        scenarios = [parsed(text, usual, known) for text in scenario or []] or _around(fleet, usual)
        outcomes = []
        for each in scenarios:
            err.print(styled((f"replaying {len(jobs.arrivals):,} jobs: {each.name}", "dim")))
            outcomes.append(simulate(jobs.arrivals, each))
    except (ValueError, Unserved) as error:
        hint = "a scenario is written as workers=8,concurrency=10,price=0.192,high=2, urgent lanes as high,default"
        raise Failure(str(error), hint, 2) from error
    notes = list(_notes(jobs, fleet, outcomes))
    data = {
        "recorded_jobs": jobs.recorded,
        "replayed_jobs": len(jobs.arrivals),
        "notes": notes,
        "outcomes": [_plain(each) for each in outcomes],
    }
    answer(as_json, data, lambda: _rendered(jobs.arrivals, outcomes, notes))


def _around(fleet: Workers, usual: Scenario) -> list[Scenario]:
    """The recorded number of workers, half of it, and twice of it."""
    if not fleet.number:
        raise Failure(fleet.unknown, "set the workers with --scenario")
    counts = {"as it was": fleet.number, "half": max(1, fleet.number // 2), "twice": 2 * fleet.number}
    return [
        replace(usual, name=f"{name}: {count}x{fleet.slots}", workers=count, concurrency=fleet.slots)
        for name, count in counts.items()
    ]


def _notes(jobs: Jobs, fleet: Workers, outcomes: list[SimulatedRun]) -> Iterator[str]:
    """What the figures do not include."""
    if jobs.recorded > len(jobs.arrivals):
        yield (
            f"only the first {len(jobs.arrivals):,} of {jobs.recorded:,} recorded jobs were replayed; "
            "shorter windows have all of theirs"
        )
    if any(outcome.cost is None for outcome in outcomes):
        yield f"the cost is not known: {fleet.unknown}; load prices, or give price= of one worker an hour"


def _plain(outcome: SimulatedRun) -> dict[str, object]:
    found = asdict(outcome)
    del found["waits_s"]
    return found


def _rendered(arrivals: list[Arrival], outcomes: list[SimulatedRun], notes: list[str]) -> RenderableType:
    table = Table("scenario", "lane", box=None, pad_edge=False, header_style="bold")
    for name in ("jobs", "wait p50", "wait p95", "wait p99", "longest", "utilisation", "cost"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        rows = [("all", outcome.waits), *(outcome.by_lane.items() if len(outcome.by_lane) > 1 else ())]
        for lane, waits in rows:
            whole = lane == "all"
            table.add_row(
                cell(outcome.scenario.name) if whole else "",
                cell(lane),
                f"{waits.jobs:,}",
                *(f"{value:,.3f} s" for value in (waits.p50_s, waits.p95_s, waits.p99_s, waits.max_s)),
                f"{outcome.utilisation:.1%}" if whole else "",
                _cost(outcome) if whole else "",
            )
    return Group(table, *(Text(f"Note: {note}", style="yellow") for note in notes), Text(), _plot(arrivals, outcomes))


def _cost(outcome: SimulatedRun) -> str:
    return "unknown" if outcome.cost is None else f"{outcome.cost:,.4f}"


def _plot(arrivals: list[Arrival], outcomes: list[SimulatedRun]) -> RenderableType:
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
