"""Every command that prints, on rows that a hostile tenant wrote: nothing but text comes out, and nothing fails."""

import csv
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from millstream.cli.app import app
from millstream.schemas import EventKind
from millstream.schemas.ids import new_id
from tests.support.hostile import HOSTILE, controls_in
from tests.support.job_history import Attempt, History, change

TEXTS = [HOSTILE[at] for at in (0, 1, 3, 5, 6, 8, 9, 11, 13, 14, 16, 25)]
"""One of each kind: in this test each costs rows and columns of every command."""

NOW = datetime.now(UTC)

Run = Callable[..., str]


@pytest.fixture
def job_id() -> str:
    return new_id()


@pytest.fixture
def rows(clickhouse: Client, job_id: str) -> None:
    """Two hours of a usual tenant, and minutes ago a failing tenant for each hostile text, which is in all its fields;
    one of their jobs has the id `job_id`."""
    history = History()
    history.steady(NOW - timedelta(hours=2), NOW, 5, Attempt(NOW, tenant="good"))
    usual = history.write(clickhouse)
    assert usual > 500
    planted = []
    for text in TEXTS:
        for number in range(6):
            at = NOW - timedelta(minutes=10, seconds=number)
            first = text is TEXTS[0] and number == 0
            history.add(Attempt(at, error=("E", "m"), labels={"k": "v"}, job_id=job_id if first else ""))
        # Workers check names; whoever may write to the topic need not.
        places = ("tenant", "job_type", "lane", "host", "worker_id", "worker_version", "region", "message")
        fields = dict.fromkeys(places, text) | {"labels": {text: text}}
        error = dict.fromkeys(("error_type", "error_message", "error_fingerprint", "stack"), text)
        planted += [
            each.model_copy(update=fields | (error if each.kind is EventKind.FAILED else {}))
            for each in history._events
        ]
        history._events = []
        change(clickhouse, NOW - timedelta(minutes=11), text, kind="deploy", **{text: text})
    history._events = planted
    history.write(clickhouse)


class _Tracker(BaseHTTPRequestHandler):
    """Answers every request with a job whose fields are hostile."""

    def do_GET(self) -> None:
        state = {"state": TEXTS[0], "labels": dict(zip(TEXTS, TEXTS, strict=True))}
        body = json.dumps(state | {f"field_{number}": text for number, text in enumerate(TEXTS)}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def run(
    rows: None, clickhouse: Client, clickhouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Runs a command and returns what it printed, after the checks that hold for all."""
    server = HTTPServer(("127.0.0.1", 0), _Tracker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", clickhouse_url)
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__DATABASE", str(clickhouse.database))
    monkeypatch.setenv("MILLSTREAM_TRACKER__PUBLIC_URL", f"http://127.0.0.1:{server.server_port}")

    def millstream(*arguments: str, but: str = "\n") -> str:
        done = CliRunner().invoke(app, arguments)
        said = done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exception)
        assert done.exit_code == 0, (arguments, said)
        assert not controls_in(said, but), (arguments, controls_in(said, but))
        assert "Traceback" not in said
        return said

    yield millstream
    server.shutdown()
    server.server_close()


def test_nothing_but_text_reaches_the_terminal(run: Run, job_id: str) -> None:
    last = "2h"
    report = run("report", "--last", last)
    assert "[/nonsense]" in report and r"\x1b]0;TITLE" in report
    assert "[/nonsense]" in run("job", "show", job_id)
    assert "[/nonsense]" in run("sql", "SELECT tenant, error_message, stack, labels FROM job_events WHERE final")
    run("sql", f"SELECT * FROM job_timeline(job='{job_id}')")
    assert "TITLE" in run("rca", "job", job_id)
    assert "[/nonsense]" in run("rca", "errors", "--last", last)
    run("rca", "explain", "--since", f"{NOW - timedelta(minutes=15):%Y-%m-%dT%H:%M:%S}")
    run("rca", "incidents", "--last", "1d")
    run("rca", "bottleneck", "--last", last)
    assert "[/nonsense]" in run("rca", "deploys", "--last", "2h")
    run("rca", "noisy-neighbours", "--last", last)
    run("rca", "compare", f"tenant={TEXTS[0]}", "tenant=[/nonsense]", "--last", last)
    begin, end = (f"{NOW - timedelta(minutes=each):%Y-%m-%dT%H:%M:%S}" for each in (60, 0))
    run("simulate", "--from", begin, "--to", end, "--scenario", "workers=2")
    for view in ("throughput", "failures", "latency_percentiles", "cost_by_tenant"):
        window = f"from='{NOW - timedelta(hours=1):%F %T}', to='{NOW:%F %T}'"
        step = {"throughput": ", step_seconds=60", "latency_percentiles": ", by='tenant'"}.get(view, "")
        run("sql", f"SELECT * FROM {view}({window}{step})")


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_no_file_that_is_written_holds_more_than_text(run: Run, job_id: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    since = f"{NOW - timedelta(minutes=15):%Y-%m-%dT%H:%M:%S}"
    incidents = json.loads(run("rca", "detect", "--last", "2h", "--step", "1m", "--json"))
    assert incidents
    worst = max(incidents, key=lambda each: each["score"])["incident_id"]
    for command in (
        ("explain", "--since", since),
        ("errors", "--last", "2h"),
        ("job", job_id),
        ("deploys", "--last", "2h"),
        ("report", "--incident", worst),
    ):
        run("rca", *command, "--html", str(file))
        page = file.read_text("utf-8")
        tags = _Tags(page)
        assert not tags.found & {"script", "img", "a", "b", "i", "iframe", "link"}, command
        assert not {each for each in tags.attributes if each.startswith("on")} | (tags.attributes & {"href", "src"})
        assert not controls_in(page, but="\n\t"), command
    written = run("rca", "report", "--incident", worst, but="\n\t")
    tokens = MarkdownIt("commonmark").enable("table").parse(written)
    kinds = {child.type for token in tokens for child in (token, *(token.children or ()))}
    assert not kinds & {"html_block", "html_inline", "link_open", "image"}
    assert not re.search(r"^#+ (Forged|Verdict)", written, re.MULTILINE)
    query = "SELECT DISTINCT tenant, toInt32(-2) AS n FROM job_events"
    anything = "".join(map(chr, range(0x11000)))
    cells = list(csv.reader(io.StringIO(run("sql", "--format", "csv", query, but=anything))))
    tenants = {row[0] for row in cells[1:]}
    assert not any(each.startswith(("=", "+", "-", "@", "\t", "\r")) for each in tenants)
    assert "'=cmd|' /C calc'!A0" in tenants and {row[1] for row in cells[1:]} == {"-2"}
    lines = run("sql", "--format", "jsonl", query, but=anything).splitlines()
    assert {json.loads(line)["tenant"] for line in lines} == {*TEXTS, "good"}
