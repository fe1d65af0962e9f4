"""`millstream job`"""

import re
import time
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.commands import revoke, send
from millstream.cli.failure import Failure
from millstream.cli.options import AsJson
from millstream.cli.output import answer, err
from millstream.pages.format import duration
from millstream.schemas import Action, Scope, State
from millstream.streams.config import TrackerConfig
from millstream.terminal import cell, styled

RECOVERY_S = 20.0
RETRY_S = 0.5
KNOWN_WITHIN_S = 2.0
ANSWER_WITHIN_S = 3.0
WORTH_SAYING_S = 2.0
"""How far behind a tracker must be that it is said with an answer, in seconds."""

JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ENDED = {each.value for each in State if each.terminal}

app = typer.Typer(help="Show or cancel one job.", no_args_is_help=True)


@app.command("show")
def show(
    job_id: Annotated[str, typer.Argument(help="The id that `submit` printed.")],
    as_json: AsJson = False,
) -> None:
    """Print the current state of a job, from the tracker.

    Example: millstream job show 01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0
    """
    _require_id(job_id)
    settings = settings_module.load()
    url = f"{settings.tracker.url}/jobs/{job_id}"
    try:
        response = _when_recovered(url, settings.tracker.headers)
    except httpx.HTTPError as error:
        raise Failure(
            f"the tracker at {settings.tracker.url} does not respond: {error}",
            "start it with `millstream tracker`, or set MILLSTREAM_TRACKER__PUBLIC_URL",
            code=3,
        ) from error
    _warn_if_behind(response)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise _token_needed(settings.tracker)
    if response.status_code == httpx.codes.NOT_FOUND:
        if _records_behind(response):
            raise Failure(f"the tracker has no job {job_id} yet", "it has not read every event: ask again in a moment")
        raise Failure(
            f"the tracker has no job {job_id}",
            "it may be older than the tracker's retention: "
            f"millstream sql \"SELECT * FROM job_timeline(job='{job_id}')\"",
        )
    if response.status_code != httpx.codes.OK:
        raise Failure(f"tracker: {response.status_code} {response.text[:200]}", code=3)
    state: dict[str, Any] = response.json()
    answer(as_json, state, lambda: _table(state))


@app.command("cancel")
def cancel(
    job_id: Annotated[str, typer.Argument(help="The id that `submit` printed.")],
    reason: Annotated[str, typer.Option(help="Why; it becomes the job's error message.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Let the job run, if it has not been cancelled yet.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask the tracker first whether the job exists and has not ended.")
    ] = False,
) -> None:
    """Cancel a job: at once if it runs, else when a worker would start it.

    A coroutine is cancelled and a process killed; a plain function in a thread sees `context.cancelled`. A job that has
    ended, or that the tracker does not know, is refused with exit code 1, and what is no job id with 2. When the
    tracker does not respond, the command is sent all the same.

    Example: millstream job cancel 01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0 --reason "wrong report"

    Example: millstream job cancel --undo 01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0
    """
    if undo:
        revoke(Action.CANCEL_JOB, Scope.JOB, job_id)
        return
    _require_id(job_id)
    if not force:
        _check_not_ended(settings_module.load().tracker, job_id)
    send(Action.CANCEL_JOB, Scope.JOB, job_id, reason=reason)


def _require_id(job_id: str) -> None:
    if not JOB_ID.fullmatch(job_id):
        raise Failure(f"{job_id!r} is not a job id (a UUID in lower case)", "`millstream submit` prints it", code=2)


def _check_not_ended(tracker: TrackerConfig, job_id: str) -> None:
    """Raises `Failure` when the tracker knows that there is nothing to cancel."""
    deadline = time.monotonic() + KNOWN_WITHIN_S
    url = f"{tracker.url}/jobs/{quote(job_id, safe='')}"
    try:
        response = httpx.get(url, headers=tracker.headers, timeout=ANSWER_WITHIN_S)
        # A job that was just submitted is not known yet.
        while response.status_code == httpx.codes.NOT_FOUND and time.monotonic() < deadline:
            time.sleep(RETRY_S)
            response = httpx.get(url, headers=tracker.headers, timeout=ANSWER_WITHIN_S)
    except httpx.HTTPError as error:
        unknown = "the tracker does not respond, so it is not known whether the job has ended:"
        err.print(styled((unknown, "yellow"), f" {error}"))
        return
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise _token_needed(tracker)
    if response.status_code == httpx.codes.NOT_FOUND and _records_behind(response):
        unknown = "the tracker has not read every event, so it is not known whether the job has ended"
        err.print(styled((unknown, "yellow")))
        return
    if response.status_code == httpx.codes.NOT_FOUND:
        raise Failure(f"the tracker has no job {job_id}", "--force sends the command all the same")
    if response.status_code != httpx.codes.OK:
        unknown = "the tracker cannot tell whether the job has ended:"
        err.print(styled((unknown, "yellow"), f" {response.status_code}"))
    elif (state := response.json()).get("state") in ENDED:
        raise Failure(f"the job has ended: it {state['state'].replace('_', ' ')}", "nothing was sent")


def _token_needed(tracker: TrackerConfig) -> Failure:
    what = "does not take this token" if tracker.headers else "asks for a token"
    return Failure(f"the tracker at {tracker.url} {what}", "set MILLSTREAM_TRACKER__TOKEN", code=2)


def _records_behind(response: httpx.Response) -> int:
    """How many records of the events the tracker has not read; 0 when it does not say."""
    return int(response.headers.get("Millstream-Records-Behind", 0))


def _warn_if_behind(response: httpx.Response) -> None:
    seconds = float(response.headers.get("Millstream-Seconds-Behind", 0))
    if _records_behind(response) and seconds >= WORTH_SAYING_S:
        behind = f"{duration(seconds * 1000)} behind the events ({_records_behind(response):,} records)"
        err.print(styled((f"the tracker is {behind}: the job may be further than it says", "yellow")))


def _when_recovered(url: str, headers: dict[str, str]) -> httpx.Response:
    """The tracker's response; while it recovers its states, ask again for at most `RECOVERY_S` seconds."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        response = httpx.get(url, headers=headers, timeout=10)
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            return response
        time.sleep(RETRY_S)


def _table(state: dict[str, Any]) -> Table:
    colours = {"succeeded": "green", "failed": "red", "timed_out": "red", "running": "cyan"}
    rows = Table(show_header=False, box=None, pad_edge=False)
    for name, value in state.items():
        if value in (None, "", {}, []) or name == "applied":
            continue
        style = colours.get(str(value), "yellow") if name == "state" else ""
        rows.add_row(cell(name, "dim"), cell(_readable(name, value), style))
    return rows


def _readable(name: str, value: Any) -> str:
    if name.endswith("_at"):
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f %Z")
    if name.endswith("_ms"):
        return duration(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return str(value)
