"""`millstream rca`"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millstream import settings as settings_module
from millstream.analytics import rca
from millstream.cli.options import AsJson
from millstream.cli.output import Failure, answer
from millstream.clickhouse import connect

app = typer.Typer(help="Root causes: who, what, since when, with evidence.", no_args_is_help=True)

METRICS = get_args(rca.Metric)


@app.callback()
def root() -> None:
    """Root causes: who, what, since when, with evidence."""


@app.command("explain")
def explain(
    metric: Annotated[str, typer.Option(help=f"One of {', '.join(METRICS)}.")] = "failure_rate",
    since: Annotated[str | None, typer.Option(help="Start of the incident, UTC; with --file also in seconds.")] = None,
    until: Annotated[str | None, typer.Option(help="Its end; now (with --file one period) if absent.")] = None,
    baseline: Annotated[str, typer.Option(help="auto, previous, same_hours, or START/END in UTC.")] = "auto",
    where: Annotated[list[str] | None, typer.Option(help="Only attempts with NAME=VALUE; may be repeated.")] = None,
    file: Annotated[Path | None, typer.Option(help="A CSV or Parquet file instead of ClickHouse.")] = None,
    time: Annotated[str | None, typer.Option(help="With --file: the column of times.")] = None,
    bad: Annotated[str | None, typer.Option(help="With --file: the column of bad counts.")] = None,
    of: Annotated[str | None, typer.Option(help="With --file: the column of all counts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which combination of tenant, type, host, release, label ... explains a change of a metric.

    Examples:

      millstream rca explain --metric failure_rate --since 2026-11-24T10:00:00 --until 2026-11-24T10:30:00

      millstream rca explain --metric queue_wait --since 2026-11-24T10:00:00 --baseline previous --where lane=high

      millstream rca explain --file requests.csv --time minute --bad errors --of requests --since 1566658020
    """
    if file is not None:
        columns = rca.Columns(time, bad, of)
        _explain_file(file, columns, since, until, as_json)
    else:
        _explain_live(metric, since, until, baseline, where or [], as_json)


def _explain_file(file: Path, columns: rca.Columns, since: str | None, until: str | None, as_json: bool) -> None:
    try:
        table = rca.read_table(file, columns)
        leaves = table.leaves(_seconds(since, "--since"), _seconds(until, "--until"))
    except rca.UnreadableTable as error:
        raise Failure(str(error), "`millstream rca explain --help` says which columns it needs", code=2) from error
    found = rca.attribute(leaves)
    data = {"file": str(file), "left_out": table.left_out, **asdict(found)}
    title = f"{file.name}: bad rows against the periods before (the nearer, the more they weigh)"
    answer(as_json, data, lambda: _render(title, found, [], table.left_out))


def _explain_live(
    metric: str, since: str | None, until: str | None, baseline: str, where: list[str], as_json: bool
) -> None:
    if metric not in METRICS:
        raise Failure(f"unknown metric {metric!r}", f"one of {', '.join(METRICS)}", code=2)
    end = _moment(until, "--until") if until else datetime.now(UTC)
    start = _moment(since, "--since") if since else end - timedelta(hours=1)
    if start >= end:
        raise Failure(f"the incident starts at {start:%H:%M:%S} and ends at {end:%H:%M:%S}", "swap them", code=2)
    filters = dict(_pair(each) for each in where)
    found = rca.explain(
        connect(settings_module.load()),
        metric,  # type: ignore[arg-type]
        rca.Window(start, end),
        baseline=_baseline(baseline),
        where=filters,
    )
    windows = ", ".join(f"{each.start:%m-%d %H:%M:%S} to {each.end:%H:%M:%S}" for each in found.baseline) or "none"
    title = f"{found.measured}, {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC; baseline: {windows}"
    answer(as_json, asdict(found), lambda: _render(title, found.attribution, found.evidence, found.left_out))


def _render(
    title: str, found: rca.Attribution, evidence: list[rca.Evidence], left_out: dict[str, str]
) -> RenderableType:
    parts: list[RenderableType] = [Text(title, style="bold"), Text(_headline(found))]
    shown = found.findings or found.candidates[:3]
    if shown:
        parts.append(_findings(shown, certain=bool(found.findings)))
    parts += [_evidence(number, each) for number, each in enumerate(evidence, start=1)]
    if left_out:
        parts.append(
            Text("not looked at: " + "; ".join(f"{name} ({why})" for name, why in left_out.items()), style="dim")
        )
    return Group(*parts)


def _headline(found: rca.Attribution) -> str:
    change = f"{_amount(found.now)} now, {_amount(found.before)} before, {found.expected:,.1f} expected"
    if found.compared_with == "the rest":
        change += " (there is no past: compared with the rest of the window)"
    verdicts = {
        "causes": f"{len(found.findings)} cause(s), {found.explained:.0%} of the excess explained",
        "global": "global: no dimension stands out, everything changed",
        "too little data": "too little data for an answer",
        "nothing unusual": "nothing unusual",
    }
    return f"{verdicts[found.verdict]}: {change}"


def _findings(findings: list[rca.Finding], certain: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", caption_justify="left")
    table.add_column("")
    table.add_column("cause" if certain else "nearest candidates")
    for title in ("before", "now", "times", "95 %", "share", "sure"):
        table.add_column(title, justify="right")
    for number, each in enumerate(findings, start=1):
        cause = Text(_name(each.dimensions), style="bold" if certain else "")
        for alias in each.aliases[:3]:
            cause.append(f"\nalso {_name(alias)}", style="dim")
        for control in each.controls:
            cause.append(f"\nother {control.dimension}: {_amount(control.now)}, {control.ratio:.2f} times", style="dim")
        low, high = each.interval
        row = (f"{each.ratio:,.1f}", f"{low:,.1f} to {high:,.1f}", f"{each.share:.0%}", f"{each.confidence:.0%}")
        table.add_row(str(number), cause, _amount(each.before), _amount(each.now), *row)
    return table


def _evidence(number: int, evidence: rca.Evidence) -> RenderableType:
    rows = Table(show_header=False, box=None, pad_edge=False)
    if evidence.first_seen:
        rows.add_row("[dim]first seen[/]", f"{evidence.first_seen:%Y-%m-%d %H:%M:%S} UTC")
    for change in evidence.changes:
        what = f"{change.offset_s:+,.0f} s: {change.kind} {change.service} {change.version} {change.summary}"
        rows.add_row("[dim]change[/]", Text(what))
    rows.add_row("[dim]jobs[/]", Text(" ".join(evidence.example_jobs)))
    rows.add_row("[dim]check[/]", Text(" ".join(evidence.sql.split())))
    rows.add_row("[dim]next[/]", Text(evidence.next_command))
    return Group(Text(f"evidence for {number}", style="bold"), rows)


def _name(dimensions: dict[str, str]) -> str:
    return ", ".join(f"{name}={value or '(empty)'}" for name, value in dimensions.items())


def _amount(counts: rca.Counts) -> str:
    return f"{counts.bad:,.4g} of {counts.of:,.0f} ({counts.rate:.2%})" if counts.of else f"{counts.bad:,.4g} of 0"


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise Failure(f"--where {text!r} is not NAME=VALUE", "for example --where tenant=acme", code=2)
    return name, value


def _baseline(text: str) -> rca.BaselineKind | tuple[rca.Window, ...]:
    if text in ("auto", "previous", "same_hours"):
        return text  # type: ignore[return-value]
    start, separator, end = text.partition("/")
    if not separator:
        raise Failure(f"unknown baseline {text!r}", "auto, previous, same_hours, or START/END", code=2)
    return (rca.Window(_moment(start, "--baseline"), _moment(end, "--baseline")),)


def _moment(text: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Failure(f"{option} {text!r} is not a time", "write it as 2026-11-24T10:00:00", code=2) from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _seconds(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return _moment(text, option).timestamp()
