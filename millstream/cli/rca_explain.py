"""`millstream rca explain`"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from millstream import settings as settings_module
from millstream.analytics import rca
from millstream.analytics.rca.questions.timeseries import timeseries
from millstream.cli.failure import Failure
from millstream.cli.options import AsHtml, AsJson
from millstream.cli.output import show
from millstream.clickhouse import connect
from millstream.pages import Page
from millstream.pages.answers.explanation import attribution_page, explanation_page

METRICS = rca.EXPLAINABLE


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
    as_html: AsHtml = None,
) -> None:
    """Find the combination of tenant, type, host, release or label that explains a change of a metric.

    Examples:

      millstream rca explain --metric failure_rate --since 2026-11-24T10:00:00 --until 2026-11-24T10:30:00

      millstream rca explain --metric queue_wait --since 2026-11-24T10:00:00 --baseline previous --where lane=high

      millstream rca explain --file requests.csv --time minute --bad errors --of requests --since 1566658020
    """
    if file is not None:
        columns = rca.Columns(time, bad, of)
        data, page = _explain_file(file, columns, since, until)
    else:
        data, page = _explain_live(metric, since, until, baseline, where or [])
    show(data, page, as_json, as_html)


def _explain_file(file: Path, columns: rca.Columns, since: str | None, until: str | None) -> tuple[Any, Page]:
    try:
        table = rca.read_table(file, columns)
        leaves = table.leaves(_seconds(since, "--since"), _seconds(until, "--until"))
    except rca.UnreadableTable as error:
        raise Failure(str(error), "`millstream rca explain --help` lists the required columns", code=2) from error
    found = rca.attribute(leaves)
    data = {"file": str(file), "left_out": table.left_out, **asdict(found)}
    return data, attribution_page(f"Why {file.name} changed", found, table.left_out)


def _explain_live(
    metric: str, since: str | None, until: str | None, baseline: str, where: list[str]
) -> tuple[Any, Page]:
    if metric not in METRICS:
        raise Failure(f"unknown metric {metric!r}", f"one of {', '.join(METRICS)}", code=2)
    end = _moment(until, "--until") if until else datetime.now(UTC)
    start = _moment(since, "--since") if since else end - timedelta(hours=1)
    if start >= end:
        raise Failure(
            f"the incident starts at {start:%H:%M:%S} and ends at {end:%H:%M:%S}",
            "exchange --since and --until",
            code=2,
        )
    filters = dict(_pair(each) for each in where)
    client = connect(settings_module.load())
    found = rca.explain(
        client,
        metric,
        rca.Window(start, end),
        baseline=_baseline(baseline),
        where=filters,
    )
    return asdict(found), explanation_page(found, timeseries(client, metric, found.incident))


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
