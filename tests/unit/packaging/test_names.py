"""One thing has one name everywhere: no former name is left in code, settings, tests or documentation.

The changelog keeps the former names, for those who search for them.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FOLDERS = (
    ".ci", "analytics", "bench", "consumers", "deploy", "docs", "examples", "millstream", "producers", "schemas",
    "streams", "tests",
)  # fmt: skip
FILES = ("README.md", "Makefile", "pyproject.toml", "docker-compose.yml", "Dockerfile")
SUFFIXES = {
    ".py",
    ".pyi",
    ".md",
    ".sql",
    ".toml",
    ".yml",
    ".yaml",
    ".json",
    ".avsc",
    ".xml",
    ".j2",
    ".ipynb",
    ".sh",
    "",
}


@dataclass(frozen=True)
class Renamed:
    """A former name, what it is called now, and the paths that it concerns; name and paths are regular expressions."""

    old: str
    new: str
    within: str = ""

    def __str__(self) -> str:
        return self.old


RENAMED = [
    Renamed(r"jobs\.beats", "jobs.heartbeats"),
    Renamed(r"\bWorkerBeat\b", "Heartbeat"),
    Renamed(r"\bworker_beats\b|_from_beats\b", "worker_heartbeats"),
    Renamed(r"\bmissed_beats\b", "heartbeat_misses"),
    Renamed(r"\bbeats\.py\b|coordination\.beats\b", "coordination/heartbeats"),
    Renamed(r"\b(beats?|BEATS?)\b", "heartbeats"),
    Renamed(r"jobs\.control\b", "jobs.commands"),
    Renamed(r"coordination\.control\b|\bcontrol\.py\b", "coordination/commands"),
    Renamed(r"\bobey\w*", "apply"),
    Renamed(r"\bstanding[ _]orders?\b", "active commands"),
    Renamed(r"\btakes?[_ ]back\b", "revoke"),
    Renamed(r"\bnarrators?\b|\bNarrator\b", "outcome_records"),
    Renamed(r"\bpeers\b", "failure_detector", r"^(consumers/|docs/worker\.md|tests/(unit|integration)/consumers/)"),
    Renamed(r"\bhearing\b", "stall_detector"),
    Renamed(r"\bdeaf\w*", "stalled"),
    Renamed(r"\bsuspects\.py\b|\bguilty\b", "poison_suspects, blamed"),
    Renamed(r"\bplaces\.py\b", "worker_id"),
    Renamed(r"\b_Life\b", "WorkerSession"),
    Renamed(r"\bbackground\.py\b|worker\.(background|backoff|child|jobs|membership|ledger)\b", "kafka/, execution/"),
    Renamed(r"\bworthwhile_rows\b", "target_rows"),
    Renamed(r"\bturns\.py\b|\btake_turns\b|sink\.(turns|fleet|dead|refusals|quiet)\b", "insert_order, all_sinks, ..."),
    Renamed(r"\bmin_seconds\b", "min_age_s", r"consumers/sink|tests/.*sink|docs/"),
    Renamed(r"schemas\.(alike|likeness|form)\b|\blikeness\b", "template, encoder"),
    Renamed(r"streams\.views\b|streams/views\.py", "http_api"),
    Renamed(r"analytics[./]asking\b", "analytics/sql"),
    Renamed(r"analytics[./]recorded\b", "simulation/replay"),
    Renamed(r"analytics[./]agreement\b", "warehouse/reconciliation"),
    Renamed(r"analytics[./](reference|sample)\b", "warehouse/view_docs, warehouse/synthetic"),
    Renamed(r"rca[./](live|course|tenants|focus)\b", "explain, timeseries, noisy_neighbours, screening"),
    Renamed(
        r"\brca_course\b(?!;)|\bcourse_chart\b",
        "rca_timeseries, timeseries_chart",
        r"^(?!analytics/warehouse/migrations/)",
    ),
    Renamed(r"\btelling_jobs?\b", "example_jobs", r"^(?!analytics/warehouse/migrations/)"),
    Renamed(r"\brca tenants\b|\btenant_pressure\b", "rca noisy-neighbours"),
    Renamed(r"millstream[./]diagnosis\b|\bdiagnosis\.py\b", "doctor"),
    Renamed(r"\bcli[./]money\b|\bmoney\.py\b", "cli/cost"),
    Renamed(r"\bbench[./]rig\b|\brig\.py\b|\bfrom rig\b", "bench/harness"),
    Renamed(r"\bworker[./]thread_pool\b", "consumers/threads"),
    Renamed(r"\bworker[./]runtime\b|\bworker/runtime\.py\b", "worker.py, session.py"),
]


@cache
def texts() -> dict[str, str]:
    """Every text of the project by its path, but for the changelog and this file."""
    found = {}
    for path in [*(ROOT / name for name in FILES), *(path for folder in FOLDERS for path in _below(ROOT / folder))]:
        if path.suffix in SUFFIXES and path != Path(__file__) and path.is_file():
            found[str(path.relative_to(ROOT))] = path.read_text("utf-8")
    return found


def _below(folder: Path) -> list[Path]:
    return [
        Path(parent) / name
        for parent, folders, names in os.walk(folder)
        if "__pycache__" not in parent
        for name in names
    ]


@pytest.mark.parametrize("renamed", RENAMED, ids=str)
def test_no_former_name_is_left(renamed: Renamed) -> None:
    old, within = re.compile(renamed.old), re.compile(renamed.within)
    assert len(texts()) > 200
    left = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts().items()
        if within.search(path)
        for number, line in enumerate(text.splitlines(), 1)
        if old.search(line)
    ]
    left += [f"{path}: the name of the file" for path in texts() if within.search(path) and old.search(path)]
    assert left == [], f"now called {renamed.new}"
