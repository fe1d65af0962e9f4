"""`millstream rca`: what broke, for whom, since when, and why."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from clickhouse_connect.driver.client import Client
from rich.progress import Progress

from millstream import settings as settings_module
from millstream.analytics.rca.questions.bottleneck import find_bottleneck
from millstream.analytics.rca.questions.compare import Side, compare
from millstream.analytics.rca.questions.deploys import deploy_effects
from millstream.analytics.rca.questions.errors import error_families
from millstream.analytics.rca.questions.impact import SLO
from millstream.analytics.rca.questions.job import UnknownJob, job_story
from millstream.analytics.rca.questions.noisy_neighbours import noisy_neighbours
from millstream.analytics.rca.questions.timeseries import Timeseries, timeseries
from millstream.analytics.rca.window import Window
from millstream.cli.failure import Failure
from millstream.cli.lazy_command import CommandEntry, group_of
from millstream.cli.options import AsHtml, AsJson
from millstream.cli.output import err, show, write
from millstream.cli.timespan import From, Last, To, length, timespan
from millstream.clickhouse import connect
from millstream.pages import render_markdown
from millstream.pages.answers.bottleneck import bottleneck_page
from millstream.pages.answers.compare import comparison_page
from millstream.pages.answers.deploys import deploys_page
from millstream.pages.answers.errors import errors_page
from millstream.pages.answers.job import job_page
from millstream.pages.answers.noisy_neighbours import noisy_neighbours_page

# Detection and attribution compute with numpy, which takes a fifth of a second to load: only what uses it imports it.
if TYPE_CHECKING:
    from millstream.analytics.rca.detection.incidents import Incident

EXPLAIN = CommandEntry(
    "explain",
    "rca_explain:explain",
    "Commands",
    "Find the combination of tenant, type, host, release or label that explains a change of a metric.",
)

app = typer.Typer(
    cls=group_of((EXPLAIN,)),
    help="Root cause analysis: what changed, since when and where, with evidence.",
    no_args_is_help=True,
)


@app.command("detect")
def detect(
    last: Last = "1d",
    start: From = None,
    end: To = None,
    step: Annotated[str, typer.Option(help="Width of a step: whole minutes that divide the day.")] = "5m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look, but record nothing.")] = False,
    as_json: AsJson = False,
    as_html: AsHtml = None,
) -> None:
    """Find metrics that left their usual range and record them as incidents.

    What is usual comes from up to four weeks before the window. Safe to repeat: an incident keeps its id, and one that
    is over gets its end. Run it every few minutes.

    Examples:

      millstream rca detect

      millstream rca detect --last 7d --dry-run
    """
    from millstream.analytics.rca.detection.incidents import find_incidents, record
    from millstream.pages.answers.incidents import incidents_page

    span = _window(last, start, end)
    client = _client()
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("series", total=None)
        try:
            found = find_incidents(
                client,
                span,
                step=length(step, "--step"),
                on_progress=lambda done, of: progress.update(task, completed=done, total=of),
            )
        except ValueError as error:
            raise Failure(str(error), "use 1m, 5m, 15m or 60m", code=2) from error
    if not dry_run:
        record(client, found)
    show([asdict(each) for each in found], incidents_page(found, span, _worst(client, found, span)), as_json, as_html)


@app.command("incidents")
def list_incidents(
    last: Last = "7d", start: From = None, end: To = None, as_json: AsJson = False, as_html: AsHtml = None
) -> None:
    """List the recorded incidents.

    Example: millstream rca incidents --last 30d
    """
    from millstream.analytics.rca.detection.incidents import incidents
    from millstream.pages.answers.incidents import incidents_page

    span = _window(last, start, end)
    client = _client()
    found = incidents(client, span.start, span.end)
    show([asdict(each) for each in found], incidents_page(found, span, _worst(client, found, span)), as_json, as_html)


@app.command("job")
def job(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    margin: Annotated[str, typer.Option(help="How long before and after it counts as the same time.")] = "5m",
    as_json: AsJson = False,
    as_html: AsHtml = None,
) -> None:
    """One job: where its time went, its retries, what ran beside it, and what else failed there.

    Example: millstream rca job 01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0
    """
    try:
        UUID(job_id)
    except ValueError as error:
        raise Failure(f"{job_id!r} is not a job id", "`millstream submit` prints one", code=2) from error
    try:
        story = job_story(_client(), job_id, round(length(margin, "--margin").total_seconds()))
    except UnknownJob as error:
        hint = "`millstream job show` queries the tracker; the sink may not have stored the job yet"
        raise Failure(str(error), hint) from error
    show(asdict(story), job_page(story), as_json, as_html)


@app.command("errors")
def errors(
    last: Last = "1h",
    start: From = None,
    end: To = None,
    history: Annotated[str, typer.Option(help="How far back an error counts as known.")] = "14d",
    deploy: Annotated[
        datetime | None, typer.Option(help="Compare around this moment, UTC; the last deploy when absent.")
    ] = None,
    as_json: AsJson = False,
    as_html: AsHtml = None,
) -> None:
    """Families of errors: new, returning, made worse by a deploy, and known.

    Examples:

      millstream rca errors --last 15m

      millstream rca errors --last 6h --deploy 2026-11-24T10:00:00
    """
    span = _window(last, start, end)
    around = deploy.replace(tzinfo=UTC) if deploy else None
    client = _client()
    found = error_families(client, span, history=length(history, "--history"), deploy=around)
    show(asdict(found), errors_page(found, timeseries(client, "failure_rate", span)), as_json, as_html)


@app.command("bottleneck")
def bottleneck(
    last: Last = "15m", start: From = None, end: To = None, as_json: AsJson = False, as_html: AsHtml = None
) -> None:
    """Where jobs queue and why: saturation, a tenant's limit, a slow dependency, or too few partitions.

    Example: millstream rca bottleneck --last 15m
    """
    found = find_bottleneck(_client(), _window(last, start, end))
    show(asdict(found), bottleneck_page(found), as_json, as_html)


@app.command("deploys")
def deploys(
    last: Last = "1d",
    start: From = None,
    end: To = None,
    around: Annotated[str, typer.Option(help="Maximum span that is compared before and after a change.")] = "30m",
    as_json: AsJson = False,
    as_html: AsHtml = None,
) -> None:
    """Before and after each recorded change, and new releases against old ones that ran at the same time.

    Example: millstream rca deploys --last 1d
    """
    span = _window(last, start, end)
    client = _client()
    found = deploy_effects(client, span, length(around, "--around"))
    shown = timeseries(client, "failure_rate", span, around=0)
    show([asdict(each) for each in found], deploys_page(found, span, shown), as_json, as_html)


@app.command("noisy-neighbours")
def neighbours(
    last: Last = "15m", start: From = None, end: To = None, as_json: AsJson = False, as_html: AsHtml = None
) -> None:
    """Tenants that delay others: behind whose jobs each tenant's jobs waited.

    Example: millstream rca noisy-neighbours --last 15m
    """
    found = noisy_neighbours(_client(), _window(last, start, end))
    show(asdict(found), noisy_neighbours_page(found), as_json, as_html)


@app.command("compare")
def compare_two(
    a: Annotated[str, typer.Argument(help="FROM/TO, DIMENSION=VALUE, or DIMENSION=VALUE@FROM/TO (UTC).")],
    b: Annotated[str, typer.Argument(help="The same, to compare with.")],
    last: Last = "1h",
    start: From = None,
    end: To = None,
    as_json: AsJson = False,
    as_html: AsHtml = None,
) -> None:
    """Two windows, or two values of a dimension, side by side.

    A side without a window of its own takes the one of the options.

    Examples:

      millstream rca compare 2026-11-24T10:00/2026-11-24T11:00 2026-11-24T11:00/2026-11-24T12:00

      millstream rca compare worker_version=1.4.1 worker_version=1.4.2 --last 30m
    """
    span = _window(last, start, end)
    found = compare(_client(), _side(a, span), _side(b, span))
    show(asdict(found), comparison_page(found), as_json, as_html)


@app.command("report")
def report(
    incident: Annotated[str, typer.Option(help="Id of a recorded incident; `rca incidents` lists them.")],
    slo: Annotated[float, typer.Option(min=0.5, max=0.99999, help="Share of attempts that should succeed.")] = SLO,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the Markdown to this file.")] = None,
    as_json: AsJson = False,
    as_html: AsHtml = None,
) -> None:
    """Write the postmortem of an incident as Markdown: impact, timeline, causes with evidence, what is not explained.

    Examples:

      millstream rca report --incident failure_rate-20261124-1005 -o postmortem.md

      millstream rca report --incident failure_rate-20261124-1005 --html postmortem.html
    """
    from millstream.analytics.rca.detection.incidents import UnknownIncident
    from millstream.analytics.rca.questions.postmortem import postmortem
    from millstream.pages.answers.postmortem import postmortem_page

    try:
        found = postmortem(_client(), incident, slo=slo)
    except UnknownIncident as error:
        raise Failure(str(error), "`millstream rca detect` finds incidents", code=2) from error
    page = postmortem_page(found)
    if as_json or as_html:
        show(asdict(found), page, as_json, as_html)
    elif output:
        write(output, render_markdown(page))
    else:
        sys.stdout.write(render_markdown(page))


def _worst(client: Client, found: "Sequence[Incident]", span: Window) -> Timeseries | None:
    """The time series of the incident with the highest score; None without incidents."""
    worst = max(found, key=lambda each: each.score, default=None)
    if worst is None:
        return None
    return timeseries(client, worst.metric, Window(worst.started_at, worst.ended_at or span.end))


def _client() -> Client:
    return connect(settings_module.load())


def _window(last: str, start: datetime | None, end: datetime | None) -> Window:
    return Window(*timespan(last, start, end))


def _side(text: str, otherwise: Window) -> Side:
    which, at, when = text.partition("@")
    if not at and "=" not in text:
        which, when = "", text
    dimension, equals, value = which.partition("=")
    if which and not (dimension and equals and value):
        raise Failure(f"{text!r} is not DIMENSION=VALUE", "such as tenant=acme", code=2)
    return Side(_window_of(when) if when else otherwise, dimension, value)


def _window_of(text: str) -> Window:
    try:
        start, end = (datetime.fromisoformat(part).replace(tzinfo=UTC) for part in text.split("/"))
    except ValueError as error:
        raise Failure(f"{text!r} is not FROM/TO", "such as 2026-11-24T10:00/2026-11-24T11:00", code=2) from error
    return Window(*timespan("", start, end))
