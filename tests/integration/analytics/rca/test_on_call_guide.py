"""The commands of docs/on-call.md do what the page says, on an incident of the last hour."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millstream.analytics import connect, migrate
from millstream.analytics.rca.detection.incidents import find_incidents, record
from millstream.analytics.rca.window import Window
from millstream.cli.app import app
from millstream.cli.failure import Failure
from tests.support.job_history import Attempt, History, change
from tests.support.paths import ROOT

GUIDE = (ROOT / "docs" / "on-call.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.strip().splitlines()]
DATABASE = "on_call_guide"
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
BEGIN, END = NOW - timedelta(minutes=60), NOW - timedelta(minutes=20)
MISSING = ("TemplateMissing", "template invoice.html is not in release 1.4.2 (tenant initech)")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def planted(clickhouse_url: str) -> tuple[str, str]:
    """Three tenants over a day; release 1.4.2 fails initech's reports for forty minutes. A failed job, the incident."""
    client = connect(clickhouse_url, database=DATABASE)
    migrate(client, DATABASE)
    past = History()
    initech = Attempt(NOW, tenant="initech")
    for like in (Attempt(NOW), initech, Attempt(NOW, tenant="globex", job_type="emails.send", host="host-2")):
        past.steady(NOW - timedelta(days=1, hours=3), NOW, 2, like, 0.01)
    bad = replace(initech, worker_version="1.4.2", worker_id="worker-2", host="host-2", error=MISSING)
    past.steady(BEGIN, END, 4, bad, 0.9)
    failed = past.add(replace(bad, at=BEGIN + timedelta(minutes=1)))
    past.write(client)
    change(client, BEGIN - timedelta(minutes=1), "1.4.2")
    found = find_incidents(client, Window(NOW - timedelta(hours=2), NOW))
    record(client, found)
    return failed, next(each.incident_id for each in found if each.metric == "failure_rate")


@pytest.fixture
def job_id(planted: tuple[str, str]) -> str:
    return planted[0]


@pytest.fixture
def incident_id(planted: tuple[str, str]) -> str:
    return planted[1]


@pytest.fixture
def run(planted: object, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in a folder of its own and returns what it printed to stdout."""
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", clickhouse_url)
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__DATABASE", DATABASE)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return command


def test_the_guide_has_a_command_for_every_question() -> None:
    asked = {shlex.split(line)[2] for line in COMMANDS if line.startswith("millstream rca")}
    wanted = "detect incidents errors explain deploys compare bottleneck noisy-neighbours job report"
    assert set(wanted.split()) <= asked


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_guide_answers(line: str, run: Run, job_id: str, incident_id: str, tmp_path: Path) -> None:
    arguments = shlex.split(line.replace("JOB_ID", job_id).replace("INCIDENT_ID", incident_id))[1:]
    said = run(*arguments)
    for name in re.findall(r"postmortem\.\w+", line):
        said += (tmp_path / name).read_text("utf-8")
    assert len(said) > 100


def test_the_answers_name_what_is_wrong(run: Run, job_id: str, incident_id: str) -> None:
    # However long ago the data was made: the window begins before the incident does.
    since = ("--from", f"{BEGIN - timedelta(minutes=10):%Y-%m-%dT%H:%M:%S}")
    assert "TemplateMissing" in run("rca", "errors", *since)
    new = json.loads(run("rca", "errors", *since, "--json"))["families"][0]
    assert (new["state"], new["error_type"], new["tenants"]) == ("new", "TemplateMissing", ["initech"])
    (deploy,) = json.loads(run("rca", "deploys", "--last", "6h", "--json"))
    assert (deploy["verdict"], deploy["canary"]["verdict"]) == ("worse", "worse")
    assert json.loads(run("rca", "bottleneck", "--last", "1h", "--json"))["verdicts"][0]["kind"] == "none"
    assert json.loads(run("rca", "job", job_id, "--json"))["state"] == "failed"


def test_a_postmortem_says_impact_timeline_causes_and_what_is_not_explained(run: Run, incident_id: str) -> None:
    text = run("rca", "report", "--incident", incident_id)
    for title in ("## Impact", "## Timeline", "## Causes", "## Evidence", "## Not explained", "## Families of errors"):
        assert title in text
    causes = text.split("## Causes")[1].split("##")[0]
    assert "| worker_version=1.4.2 | 0 of 0 |" in causes
    for name in ("(worker_id=worker-2)", "(tenant=initech, host=host-2)"):
        assert name in causes, "only initech's jobs met the release, on one worker: the counts cannot tell them apart"
    assert "deploy of workers 1.4.2" in text.split("## Timeline")[1].split("##")[0]
    assert "error budget burned" in text
    reported = json.loads(run("rca", "report", "--incident", incident_id, "--json"))
    assert reported["impact"]["failed"] > 100
    assert reported["impact"]["failures_beyond_usual"] == pytest.approx(reported["impact"]["failed"], rel=0.1)


def test_html_is_one_page_without_anything_from_outside(run: Run, incident_id: str, tmp_path: Path) -> None:
    run("rca", "deploys", "--last", "6h", "--html", "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<svg" in page and "polyline" in page and "made it worse" in page
    assert re.findall(r"(?:src|href)=|url\(|@import|<script", page) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["job", "nonsense"], "not a job id"),
        (["job", "01a20bcf-7638-75c2-8983-5243777a9632"], "no event of job"),
        (["report", "--incident", "nonsense"], "no incident 'nonsense'"),
        (["compare", "tenant", "tenant=acme"], "not FROM/TO"),
        (["compare", "tenant=", "tenant=acme"], "not DIMENSION=VALUE"),
        (["detect", "--step", "7m"], "divides the day"),
        (["errors", "--history", "long"], "--history 'long' is not a length of time"),
        (["deploys", "--html", "/no/such/folder/x.html"], "cannot write"),
    ],
)
def test_bad_input_is_an_error_that_names_what_is_wrong(run: Run, arguments: list[str], said: str) -> None:
    with pytest.raises(Failure, match=re.escape(said)):
        run("rca", *arguments)
