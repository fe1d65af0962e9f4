"""The commands as a new user types them, against the stack that `millstream up` started."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from millstream.local.process import ChildProcess
from millstream.rights.connection import check_connection
from millstream.schemas import KafkaConnection
from tests.support.waiting import eventually

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}


def millstream(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """Run a command in a folder and return what it printed to stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "millstream", *arguments],
        cwd=folder,
        env={**PLAIN, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr


class Up:
    """`millstream up` in a folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.suggested = ""
        self.process = ChildProcess([sys.executable, "-m", "millstream", "up", *arguments], cwd=folder, env=PLAIN)

    def start(self) -> None:
        self.process.start()
        deadline = time.monotonic() + 120
        while "Millstream is up" not in self.process.tail:
            assert self.process.is_alive(), self.process.tail
            assert time.monotonic() < deadline, self.process.tail
            time.sleep(0.1)
        self.suggested = self.process.tail

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ctrl_c(self) -> None:
        """SIGINT, as the terminal sends it; every child must be gone afterwards."""
        children = self.children()
        assert len(children) >= 5
        os.kill(self.process.pid, signal.SIGINT)
        self.process.wait(90)
        assert self.process.returncode == 0, self.process.tail
        left = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        assert left == []


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    stack = Up(tmp_path_factory.mktemp("project"))
    stack.start()
    yield stack
    if stack.process.is_alive():
        stack.process.stop(60)


def state_of(up: Up, job_id: str) -> str:
    """The state that `job show` prints; empty while the tracker starts or has not read the job's first event."""
    show = [sys.executable, "-m", "millstream", "job", "show", job_id, "--json"]
    done = subprocess.run(show, cwd=up.folder, env=PLAIN, capture_output=True, text=True, check=False, timeout=120)
    return str(json.loads(done.stdout)["state"]) if done.returncode == 0 else ""


def test_submit_show_report_and_sql_find_the_stack_by_themselves(up: Up) -> None:
    submitted = json.loads(
        millstream(up.folder, "submit", "demo.sleep", '{"seconds": 0.1}', "--tenant", "acme", "--count", "3", "--json")
    )
    job_id = submitted["job_ids"][0]
    eventually(lambda: state_of(up, job_id), lambda state: state == "succeeded")
    shown = millstream(up.folder, "job", "show", job_id)
    assert "succeeded" in shown and "acme" in shown
    count = "SELECT count() AS attempts FROM job_attempts"
    eventually(
        lambda: json.loads(millstream(up.folder, "sql", "--json", count))["attempts"],
        lambda attempts: int(attempts) >= 3,
    )
    report = millstream(up.folder, "report", "--last", "10m")
    assert "Latency by stage" in report and "queue wait" in report
    gathered = json.loads(millstream(up.folder, "report", "--last", "10m", "--json"))
    assert gathered["counts"]["doubled"] == 0


def test_simulate_replays_what_ran_with_the_workers_that_ran_it(up: Up) -> None:
    heartbeats = "SELECT count() AS rows FROM worker_heartbeats"
    eventually(lambda: int(json.loads(millstream(up.folder, "sql", "--json", heartbeats))["rows"]), bool)
    now = datetime.now(UTC)
    window = ["--from", f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}", "--to", f"{now:%Y-%m-%dT%H:%M:%S}"]
    reported = json.loads(millstream(up.folder, "simulate", *window, "--json"))
    assert reported["recorded_jobs"] == reported["replayed_jobs"] >= 3
    assert [each["scenario"]["name"].split(":")[0] for each in reported["outcomes"]] == ["as it was", "half", "twice"]
    printed = millstream(up.folder, "simulate", *window, "--scenario", "concurency=20", code=2)
    assert "did you mean 'concurrency'" in re.sub(r"\s+", " ", printed) and "Traceback" not in printed


def test_doctor_finds_everything_well(up: Up) -> None:
    findings = json.loads(millstream(up.folder, "doctor", "--json"))
    assert {each["check"]: each["status"] for each in findings if each["status"] != "ok"} == {}
    assert {
        "kafka",
        "topics",
        "workers",
        "commands",
        "lanes",
        "sink lag",
        "tracker lag",
        "clickhouse",
        "tables",
        "clock",
    } <= {each["check"] for each in findings}


def test_a_second_up_is_refused_and_the_first_one_goes_on(up: Up) -> None:
    before = (up.folder / ".millstream" / "stack.json").read_text()
    assert "runs a local stack" in millstream(up.folder, "up", code=3)
    assert (up.folder / ".millstream" / "stack.json").read_text() == before
    assert json.loads(millstream(up.folder, "config", "show", "--json"))["kafka"]["bootstrap"] in before


def test_handlers_that_cannot_be_imported_are_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import os\nos._exit(7)\n")
    assert "cannot import 'nosuch'" in millstream(tmp_path, "up", "nosuch", code=2)
    assert "ended the process" in millstream(tmp_path, "up", "leaves", code=2)
    assert not (tmp_path / ".millstream").exists()


def test_up_suggests_a_job_that_its_handlers_run(up: Up) -> None:
    suggestion = re.search(r"millstream (submit .*) --tenant acme", up.suggested)
    assert suggestion is not None
    job_id = millstream(up.folder, *shlex.split(suggestion[1])).strip()
    eventually(lambda: state_of(up, job_id), lambda state: state == "succeeded")


def test_a_broker_that_is_killed_is_started_again(up: Up) -> None:
    (broker,) = (each for each in up.children() if each.name() == "java" or "tansu" in each.name())
    if broker.name() != "java":
        pytest.skip("Tansu loses everything when it ends")
    broker.kill()
    eventually(lambda: "is started again" in up.process.tail, bool)
    stack = json.loads((up.folder / ".millstream" / "stack.json").read_text())
    connection = KafkaConnection(stack["settings"]["kafka"]["bootstrap"])
    eventually(lambda: check_connection(connection), bool)
    job_id = millstream(up.folder, "submit", "demo.sleep", "{}").strip()
    eventually(lambda: state_of(up, job_id), lambda state: state == "succeeded")


def test_topics_and_migrate_are_safe_to_repeat(up: Up) -> None:
    assert {each["status"] for each in json.loads(millstream(up.folder, "topics", "apply", "--json"))} == {"ok"}
    assert {each["status"] for each in json.loads(millstream(up.folder, "topics", "list", "--json"))} == {"ok"}
    assert json.loads(millstream(up.folder, "migrate", "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["submit", "demo.sleep", "{not json"], 2, "payload is not JSON"),
        (["submit", "demo.sleep", "{}", "--tenant", "no good"], 2, "tenant='no good'"),
        (["submit", "demo.sleep", "{}", "--lane", "nowhere"], 2, "the lanes are"),
        (["job", "show", "01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0"], 1, "has no job"),
        (["sql", "SELECT nonsense"], 2, "nonsense"),
        (["sql", "SELECT * FROM latency_percentiles(to='2026-11-24')"], 2, "needs by, from too; for example: SELECT"),
        (["report", "--last", "soon"], 2, "not a length of time"),
        (["worker", "no.such.module"], 2, "cannot import 'no.such.module'"),
    ],
)
def test_a_wrong_command_says_what_is_wrong_and_exits_with_a_code(
    up: Up, arguments: list[str], code: int, said: str
) -> None:
    printed = millstream(up.folder, *arguments, code=code)
    assert said in re.sub(r"\s+", " ", printed)
    assert "Traceback" not in printed


def test_without_a_stack_the_commands_say_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    nowhere = {"MILLSTREAM_KAFKA__BOOTSTRAP": "127.0.0.1:1", "MILLSTREAM_CLICKHOUSE__URL": "http://127.0.0.1:1"}

    def run(words: list[str], code: int) -> str:
        return millstream(tmp_path, *words, code=code, **nowhere)

    commands = [["topics", "list"], ["commands", "list"], ["commands", "pause", "tenant", "acme"]]
    # Each waits some seconds for an answer.
    with ThreadPoolExecutor() as side_by_side:
        doctor = side_by_side.submit(run, ["doctor"], 1)
        report = side_by_side.submit(run, ["report"], 3)
        others = [side_by_side.submit(run, words, 3) for words in commands]
    assert "does not respond" in doctor.result() and "millstream up" in doctor.result()
    assert "127.0.0.1:1" in report.result() and "Traceback" not in report.result()
    for printed in (each.result() for each in others):
        assert "Kafka" in printed and "doctor" in printed and "Traceback" not in printed
        assert len(printed.splitlines()) < 10


def test_ctrl_c_leaves_no_process_and_the_data_survives_a_restart(up: Up) -> None:
    count = "SELECT count() AS attempts FROM job_attempts"
    before = json.loads(millstream(up.folder, "sql", "--json", count))["attempts"]
    up.ctrl_c()
    # Another stack may listen on the default port.
    assert re.search("no answer|rejects user", millstream(up.folder, "sql", count, code=3))
    up.start()
    assert json.loads(millstream(up.folder, "sql", "--json", count))["attempts"] == before
    job_id = millstream(up.folder, "submit", "demo.sleep", "{}").strip()
    eventually(lambda: state_of(up, job_id), lambda state: state == "succeeded")
    up.ctrl_c()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rca", "explain", "--yesterday"], "--yesterday"),
        (["nonsense"], "nonsense"),
        (["commands", "pause", "tennant", "acme"], "tennant"),
        (["commands", "quota", "tenant", "acme", "--weight", "much"], "--weight"),
        (["job", "cancel"], "job_id"),
    ],
)
def test_words_that_a_command_does_not_know_are_named_without_a_traceback(
    tmp_path: Path, words: list[str], said: str
) -> None:
    reported = millstream(tmp_path, *words, code=2)
    assert said in reported
    assert "Traceback" not in reported
