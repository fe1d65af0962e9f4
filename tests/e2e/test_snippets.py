"""Every snippet of README.md and docs/ runs, in the order of the pages, in a project like the one that they describe.

A block that no test can run has the comment `<!-- not run: REASON -->` above it. The pages in `ELSEWHERE` have a test
of their own.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millstream.cli.app import app
from millstream.local.process import ChildProcess
from millstream.settings import load
from tests.support.paths import ROOT
from tests.support.waiting import eventually

ELSEWHERE = {
    "testing.md": "tests/unit/millstream/test_testing.py",
    "views.md": "tests/integration/analytics/warehouse/test_view_docs.py",
    "on-call.md": "tests/integration/analytics/rca/test_on_call_guide.py",
}
CHECKED = {"sh", "python", "toml"}
NOT_CODE = {"", "mermaid", "ini", "properties", "yaml", "dockerfile"}
"""Output, diagrams, and files of other programs."""

BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```", re.M | re.S
)
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
PRICES = "instance_type,effective_from,price_per_hour,vcpus\ndefault,1970-01-01,0.096,2\n"
BUDGETS = "- tenant: acme\n  monthly_cost: 1000\n"
HANDLERS = "from handlers import render\n"
REPORTS = {("budgets", "check"), ("rca", "detect"), ("rca", "report")}
"""Commands whose exit code 1 reports what they found; there is no incident in this stack."""

BINARY = [sys.executable, "-m", "millstream"]


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    language: str
    text: str
    why_not: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text("utf-8")
    return [
        Snippet(
            page, text[: found.start("language")].count("\n") + 1, found["language"], found["text"], found["why"] or ""
        )
        for found in BLOCK.finditer(text)
    ]


EVERY = [each for page in pages() if page.name not in ELSEWHERE for each in snippets(page)]
RUN = [each for each in EVERY if each.language in CHECKED and not each.why_not]


def requests_csv() -> str:
    """Two hours of requests a minute, with errors of one region in the second one: what `rca explain --file` reads."""
    since = 1566658020
    rows = ["minute,region,errors,requests"]
    for minute in range(-60, 60):
        for region in ("eu", "us", "ap"):
            bad = 40 if region == "eu" and minute >= 0 else 1
            rows.append(f"{since + 60 * minute},{region},{bad},100")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the README's handler, and `millstream up` in it."""
    folder = tmp_path_factory.mktemp("project")
    (handlers,) = (each.text for each in snippets(ROOT / "README.md") if each.text.startswith("# handlers.py"))
    (folder / "handlers.py").write_text(handlers)
    for name in ("yourproject", "myproject"):
        (folder / name).mkdir()
        (folder / name / "jobs.py").write_text(HANDLERS)
    (folder / "prices.csv").write_text(PRICES)
    (folder / "budgets.yaml").write_text(BUDGETS)
    (folder / "requests.csv").write_text(requests_csv())
    up = ChildProcess([*BINARY, "up", "handlers", "--workers", "1"], cwd=folder, env=PLAIN)
    up.start()
    try:
        eventually(lambda: up.tail, lambda tail: "Millstream is up" in tail or not up.is_alive(), within_s=180)
        assert up.is_alive(), up.tail
        yield folder
    finally:
        up.stop(60)


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as the current folder, without any variable of Millstream."""
    for name in [name for name in os.environ if name.startswith("MILLSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    return project


def test_every_kind_of_snippet_is_known() -> None:
    assert {each.language for each in EVERY} <= CHECKED | NOT_CODE
    assert len(RUN) >= 12
    for page, test in ELSEWHERE.items():
        assert (ROOT / "docs" / page).exists() and page in (ROOT / test).read_text("utf-8") + "views.md"


@pytest.mark.parametrize("snippet", RUN, ids=lambda each: each.place)
def test_the_snippet_runs(snippet: Snippet, here: Path) -> None:
    if snippet.language == "python":
        exec(compile(snippet.text, snippet.place, "exec"), namespace(here))
    elif snippet.language == "toml":
        (here / "other.toml").write_text(snippet.text)
        os.environ["MILLSTREAM_CONFIG"] = "other.toml"
        try:
            load()
        finally:
            del os.environ["MILLSTREAM_CONFIG"]
    else:
        for line in snippet.text.splitlines():
            run_line(line, snippet.place, here)


def namespace(here: Path) -> dict[str, object]:
    """What a snippet of Python finds: the names of the README's handlers, but not the registration a second time."""
    import handlers  # type: ignore[import-not-found]

    from millstream.consumers.worker import registered

    registered._types.pop("reports.render", None)
    return {"render": handlers.render, "__name__": "snippet"}


def run_line(line: str, place: str, here: Path) -> None:
    """Run one line of a shell. Exit code 0, or 1 where a page says that it reports what was found."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    line = with_ids(line, here)
    words = shlex.split(line, comments=True)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    assert words[0] == "millstream", f"{place}: add `<!-- not run: REASON -->`: {line}"
    if words[1] == "worker":
        run_worker(words[1:], variables, here)
        return
    if words[1:] == ["sql"]:
        result = CliRunner().invoke(app, ["sql"], input="SELECT 1")
    else:
        target = None
        if ">" in words:
            words, target = words[: words.index(">")], words[-1]
        result = CliRunner().invoke(app, words[1:], env=variables)
        if target is not None:
            (here / target).write_text(result.stdout)
            assert result.stdout
    allowed = {0, 1} if tuple(words[1:3]) in REPORTS else {0}
    said = f"{place}: {line}: {result.exit_code}\n{result.output}{result.exception!r}"
    assert result.exit_code in allowed, said


def with_ids(line: str, here: Path) -> str:
    """The line with ids of this stack for those that a reader puts in."""
    if re.search(r"\bJOB_ID\b|01934fd2-[0-9a-f-]+", line):
        # A job that is cancelled must not have ended: nobody has a handler for this type.
        job_type = "reports.later" if "cancel" in line else "reports.render"
        submitted = CliRunner().invoke(app, ["submit", job_type, '{"report": 1}', "--tenant", "others"])
        job_id = submitted.output.strip().splitlines()[-1]
        eventually(
            lambda: CliRunner().invoke(app, ["job", "show", job_id]).exit_code, lambda code: code == 0, within_s=30
        )
        line = re.sub(r"\bJOB_ID\b|01934fd2-[0-9a-f-]+", job_id, line)
    if "simulate" in line:
        # What is replayed must have happened.
        CliRunner().invoke(app, ["submit", "reports.render", '{"report": 1}'])
        happened = (
            "SELECT (SELECT count() FROM job_attempts) > 0 AND (SELECT count() FROM worker_heartbeats) > 0 AS found"
        )
        eventually(
            lambda: CliRunner().invoke(app, ["sql", "--json", happened]).output, lambda told: '"found":1' in told
        )
    hour_ago, now = (f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}" for hours in (1, 0))
    if "simulate" in line:
        line = re.sub(r"--from \S+ --to \S+", f"--from {hour_ago} --to {now}", line)
    return line


def run_worker(words: list[str], variables: Mapping[str, str], here: Path) -> None:
    """Run a worker until its jobs may start, then stop it."""
    ready = threading.Event()
    worker = ChildProcess(
        [*BINARY, *words],
        cwd=here,
        env={**PLAIN, **variables, "MILLSTREAM_LOG_FORMAT": "json"},
        on_line=lambda text: ready.set() if "worker_ready" in text else None,
    )
    worker.start()
    try:
        deadline = time.monotonic() + 120
        while not ready.wait(0.2):
            assert worker.is_alive() and time.monotonic() < deadline, worker.tail
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(60) == 0, worker.tail
    except subprocess.TimeoutExpired:
        raise AssertionError(worker.tail) from None
    finally:
        if worker.is_alive():
            worker.kill()
