"""The demo counts the same at every source, also when a worker is killed half way."""

import gzip
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.support.paths import SHARED_DATA
from tests.support.scenarios import lengths

TRACE = SHARED_DATA / "jobs" / "helios_15000.csv.gz"
LAST_LINE = re.compile(
    r"demo: submitted=(\d+) finished=(\d+) outcomes=(\d+) in_clickhouse=(\d+) lost=(\d+) doubled=(\d+) "
    r"seconds=\d+ broker=(apache|tansu)$"
)


def demo(folder: Path, *arguments: str) -> tuple[list[int], str]:
    """The counts of the last line, and all that was printed to stdout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MILLSTREAM_", "DEMO_"))}
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "demo", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = LAST_LINE.search(done.stdout.strip().splitlines()[-1])
    assert found, done.stdout
    return [int(number) for number in found.groups()[:6]], done.stdout


@pytest.mark.parametrize("arguments", [("--broker", "tansu"), ("--kill",)])
def test_every_source_counts_the_same(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    counts, _ = demo(tmp_path, "--jobs", "600", "--seconds", "3", *arguments)
    assert counts == [600, 600, 600, 600, 0, 0]


def test_the_report_answers_each_question_and_names_the_planted_cause_first_with_its_evidence(tmp_path: Path) -> None:
    counts, printed = demo(tmp_path, "--jobs", "3000", "--seconds", "12")
    assert counts == [3000, 3000, 3000, 3000, 0, 0]
    for section in ("Throughput over time", "Latency by stage", "Cost by tenant", "Timeline of job"):
        assert section in printed
    failures = printed.split("Failures by tenant and type")[1].splitlines()
    first = next(line for line in failures if re.match(r"\s*\w+\s+\w+\.\w+", line))
    assert "initech" in first and "reports.render" in first and "TemplateMissing" in first
    answer = printed.split("Why failure rate changed")[1].split("Counted at each source")[0]
    verdict = answer.splitlines()[1]
    for part in ("tenant=initech", "worker_version=1.4.2"):
        assert part in verdict, answer
    evidence = answer.split("Evidence for cause 1")[1]
    assert "config of reports, " in evidence and "deploy of workers 1.4.2" in evidence
    assert "FROM job_attempts" in evidence and re.search(r"millstream rca job [0-9a-f-]{36}", evidence)


@lengths("jobs", short=2_000, full=15_000)
def test_a_real_trace_is_replayed_whole(tmp_path: Path, jobs: int) -> None:
    if not TRACE.exists():
        pytest.skip("needs the recorded Helios trace beside the project")
    trace = tmp_path / "helios.csv"
    with gzip.open(TRACE, "rt") as recorded:
        trace.write_text("".join(islice(recorded, jobs + 1)))
    counts, _ = demo(tmp_path, "--trace", str(trace), "--seconds", "8")
    assert counts == [jobs] * 4 + [0, 0]


def test_a_file_that_is_no_trace_is_named(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("a,b\n1,2\n")
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "demo", "--trace", "trace.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "fit no profile" in done.stderr
