"""How long commands take, from a shell's point of view, beside other job runtimes where they are installed.

Each command runs several times in a process of its own; the medians count. `_wall_ms` is what a person waits, and
`_cpu_ms` what a machine spends, both in milliseconds. Commands that need a stack run against one that is started for
them. `python_wall_ms` is an interpreter that does nothing, the least that any command can take.

version_, help_, submit_help_, config_show_wall_ms and _cpu_ms      without a stack
submit_, job_show_, commands_list_, topics_list_, sql_wall_ms ...   with a stack
celery_help_, dramatiq_help_wall_ms ...                             `celery --help` and others
missing                                                             peers that are not installed
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import Harness, Value
from rich.console import Console

from millstream.local.services import RunningService, Service, ServiceLog, stop_all

PEERS = ("celery", "dramatiq", "taskiq", "rq")
READY_WITHIN_S = 60.0


def main() -> None:
    harness = Harness(__doc__)
    repeats = 3 if harness.quick else 11
    millstream = [sys.executable, "-m", "millstream"]
    results: dict[str, Value] = {}
    missing = [name for name in PEERS if shutil.which(name) is None]
    alone = {
        "python": [sys.executable, "-c", "pass"],
        "version": [*millstream, "--version"],
        "help": [*millstream, "--help"],
        "submit_help": [*millstream, "submit", "--help"],
        "config_show": [*millstream, "config", "show"],
        **{f"{name}_help": [name, "--help"] for name in PEERS if name not in missing},
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
                "commands_list": [*millstream, "commands", "list"],
                "topics_list": [*millstream, "topics", "list"],
                "sql": [*millstream, "sql", "SELECT 1"],
            }
            commands = {**alone, **with_stack}
            with harness.step("commands", repeats * len(commands)) as advance:
                for name, command in commands.items():
                    runs = [timed(command, environment, Path(folder)) for _ in range(repeats)]
                    results[f"{name}_wall_ms"] = round(statistics.median(wall for wall, _ in runs), 1)
                    results[f"{name}_cpu_ms"] = round(statistics.median(cpu for _, cpu in runs), 1)
                    advance(repeats)
        finally:
            stop_all([tracker], 10)
    results["missing"] = missing
    harness.finish(results)


def timed(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[float, float]:
    """Wall and CPU time of one run, in milliseconds. Raises CalledProcessError when it fails."""
    before, began = _used_s(), time.perf_counter()
    subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True)
    return (time.perf_counter() - began) * 1000, (_used_s() - before) * 1000


def _used_s() -> float:
    """CPU time of this process's children that have ended, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
