"""How long commands take, from a shell's point of view, beside those of other job runtimes.

Each command runs several times in a process of its own, all of them in turn; the medians count. `_wall_ms` is what a
person waits, and `_cpu_ms` what a machine spends, both in milliseconds. Commands that need a stack run against one that
is started for them; it has one job and no worker. `python_wall_ms` is an interpreter that does nothing, the least that
any command can take.

version_, help_, submit_help_, config_show_, acls_wall_ms and _cpu_ms   without a stack
submit_, job_show_, job_cancel_wall_ms ...                              jobs: Kafka, and the tracker
commands_list_, commands_pause_, commands_resume_, topics_list_,
topics_apply_, doctor_wall_ms ...                                       operations: Kafka
sql_, report_, rca_detect_, rca_errors_, cost_export_, prices_list_,
budgets_check_, tables_check_, migrate_wall_ms ...                      answers: ClickHouse
celery_help_, dramatiq_help_, taskiq_help_wall_ms ...                   `celery --help` and others
missing                                                                 peers that could not be installed
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harness import Harness, Value
from peers.systems import installed
from rich.console import Console

from millstream.local.services import RunningService, Service, ServiceLog, stop_all

PEERS = ("celery", "dramatiq", "taskiq")
READY_WITHIN_S = 60.0
FOUND = {"doctor": {0, 1}}
"""Exit codes of commands that may find something; `doctor` finds that no worker runs."""


def main() -> None:
    harness = Harness(__doc__)
    repeats = 2 if harness.quick else 11
    millstream = [sys.executable, "-m", "millstream"]
    results: dict[str, Value] = {}
    peers = peer_commands(harness)
    alone = {
        "python": [sys.executable, "-c", "pass"],
        "version": [*millstream, "--version"],
        "help": [*millstream, "--help"],
        "submit_help": [*millstream, "submit", "--help"],
        "config_show": [*millstream, "config", "show"],
        "acls": [*millstream, "acls"],
        **{f"{name}_help": [str(path), "--help"] for name, path in peers.items()},
    }
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder, harness.stack() as stack:
        tracker = RunningService(
            Service("tracker", ("tracker",), ready_url=f"{stack.settings.tracker.url}/health"),
            stack.environment,
            ServiceLog(Console(stderr=True), least_level="error"),
        )
        tracker.start()
        try:
            environment = {**os.environ, **stack.environment}
            submit = [*millstream, "submit", "bench.none", "{}"]
            job_id = subprocess.run(submit, env=environment, capture_output=True, text=True, check=True).stdout.strip()
            deadline = time.monotonic() + READY_WITHIN_S
            while not tracker.responds and time.monotonic() < deadline:
                time.sleep(0.1)
            with_stack = {
                "submit": submit,
                "job_show": [*millstream, "job", "show", job_id],
                "job_cancel": [*millstream, "job", "cancel", job_id],
                "commands_pause": [*millstream, "commands", "pause", "tenant", "bench"],
                "commands_list": [*millstream, "commands", "list"],
                "commands_resume": [*millstream, "commands", "resume", "tenant", "bench"],
                "topics_list": [*millstream, "topics", "list"],
                "topics_apply": [*millstream, "topics", "apply"],
                "doctor": [*millstream, "doctor"],
                "sql": [*millstream, "sql", "SELECT 1"],
                "report": [*millstream, "report", "--last", "15m"],
                "rca_detect": [*millstream, "rca", "detect"],
                "rca_errors": [*millstream, "rca", "errors"],
                "cost_export": [*millstream, "cost", "export", "--from", "2026-01-01", "--to", "2026-02-01"],
                "prices_list": [*millstream, "prices", "list"],
                "budgets_check": [*millstream, "budgets", "check"],
                "tables_check": [*millstream, "tables", "check"],
                "migrate": [*millstream, "migrate"],
            }
            commands = {**alone, **with_stack}
            with harness.step("commands", repeats * len(commands)) as advance:
                runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
                for _ in range(repeats):
                    for name, command in commands.items():
                        runs[name].append(timed(command, environment, Path(folder), FOUND.get(name, {0})))
                        advance(1)
        finally:
            stop_all([tracker], 10)
    for name, each in runs.items():
        results[f"{name}_wall_ms"] = round(statistics.median(wall for wall, _ in each), 1)
        results[f"{name}_cpu_ms"] = round(statistics.median(cpu for _, cpu in each), 1)
    results["missing"] = [name for name in PEERS if name not in peers]
    harness.finish(results)


def peer_commands(harness: Harness) -> dict[str, Path]:
    """The programs of other job runtimes, by their names: those of the peers' environment."""
    try:
        programs = installed(harness).parent
    except (subprocess.CalledProcessError, OSError):
        return {}
    return {name: programs / name for name in PEERS if (programs / name).exists()}


def timed(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, codes: Collection[int]
) -> tuple[float, float]:
    """Wall and CPU time of one run, in milliseconds. Raises RuntimeError when it ends with another exit code."""
    before, began = _used_s(), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    took = (time.perf_counter() - began) * 1000, (_used_s() - before) * 1000
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
    return took


def _used_s() -> float:
    """CPU time of this process's children that have ended, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
