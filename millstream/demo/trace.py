"""Real job traces as workloads: the meaning of the columns, and how days of work are compressed to a minute."""

import csv
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from millstream.producers import NewJob


class UnreadableTrace(ValueError):
    """The file matches no trace profile; the text says what is missing where."""


@dataclass(frozen=True)
class Profile:
    """Names of a trace's columns. `interval`: seconds since the job before; `run_time`: seconds."""

    tenant: str
    interval: str
    run_time: str
    status: str
    failed: frozenset[str]
    labels: tuple[str, ...] = ()

    @property
    def columns(self) -> set[str]:
        return {self.tenant, self.interval, self.run_time, self.status, *self.labels}


PROFILES = (
    # The form in which the Helios and Philly GPU cluster traces are shipped.
    Profile("user", "interval", "run_time", "new_status", frozenset({"Failed", "Killed"}), ("gpu_num", "node_num")),
)

LONGEST_INTERVAL_S = 86_400.0
"""A gap longer than this is a hole in the recording, not a quiet time."""


@dataclass(frozen=True)
class TracedJob:
    """A job of a trace and when it was submitted, in seconds of trace time from the first one."""

    at: float
    job: NewJob


def read_trace(path: Path, run_scale: float, longest_run_s: float = 1.0) -> Iterator[TracedJob]:
    """The jobs of a CSV trace (`.gz` as well), in submit order.

    A run time of the trace is multiplied by `run_scale` and cut at `longest_run_s` seconds. Jobs that failed in the
    trace fail here. Raises `UnreadableTrace` naming the row and column.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield from _jobs(file, path, run_scale, longest_run_s)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableTrace(f"{path}: {error}") from error


def _jobs(file: Iterable[str], path: Path, run_scale: float, longest_run_s: float) -> Iterator[TracedJob]:
    rows = csv.DictReader(file)
    present = set(rows.fieldnames or ())
    profile = next((each for each in PROFILES if each.columns <= present), None)
    if profile is None:
        wanted = " or ".join(", ".join(sorted(each.columns)) for each in PROFILES)
        raise UnreadableTrace(f"{path}: columns {sorted(present)} fit no profile; needed: {wanted}")
    at = 0.0
    for number, row in enumerate(rows, start=2):
        try:
            at += min(float(row[profile.interval]), LONGEST_INTERVAL_S)
            run_s = min(float(row[profile.run_time]) * run_scale, longest_run_s)
        except (TypeError, ValueError) as error:
            raise UnreadableTrace(f"{path}, line {number}: {error}") from error
        status = row[profile.status]
        yield TracedJob(
            at,
            NewJob(
                "trace.job",
                {"seconds": round(run_s, 4), "fails": f"{status} in the trace" if status in profile.failed else ""},
                tenant=f"user-{row[profile.tenant]}",
                labels={name: row[name] for name in profile.labels},
            ),
        )
