"""Memory and CPU of everything that `millstream up` runs, while nothing happens.

Memory is the proportional set size (PSS): pages that processes share count once. Linux only. CPU is that of the whole
stack, once it is up and has had `--settle` seconds to finish what a start leaves behind.

pss_mib            of all processes, in MiB
cpu_percent        of one core, of all processes
processes          how many
threads            of all processes
by_process         the same for each of them
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from harness import show
from rich.console import Console
from rich.table import Table

START_WITHIN_S = 120.0
PROGRAMS = (
    ("kafka.Kafka", "Kafka"),
    ("millstream.local.clickhouse", "ClickHouse engine"),
    ("heartbeat_process", "heartbeats of a worker"),
    ("millstream worker", "worker"),
    ("millstream tracker", "tracker"),
    ("millstream sink", "sink"),
    ("up", "up"),
)


def main() -> None:
    options = _options()
    seconds, settle = (20.0, 8.0) if options.quick else (60.0, options.settle)
    err = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder:
        up = started(Path(folder))
        try:
            err.print(f"up; it settles for {settle:.0f} s and is measured for {seconds:.0f} s")
            time.sleep(settle)
            rows = measured(psutil.Process(up.pid), seconds)
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(90)
    table = Table("process", "PSS MiB", "CPU % of a core", "threads")
    for name, row in rows.items():
        table.add_row(name, f"{row['pss_mib']:.0f}", f"{row['cpu_percent']:.2f}", str(round(row["threads"])))
    err.print(table)
    total = {key: round(sum(row[key] for row in rows.values()), 2) for key in ("pss_mib", "cpu_percent", "threads")}
    show({**total, "processes": len(rows), "by_process": rows}, options.json, options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 s, and a shorter time to settle")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds between the start and the measurement")
    return parser.parse_args()


def started(folder: Path) -> subprocess.Popen[bytes]:
    """`millstream up` in an empty folder, once it says that it is up. Raises RuntimeError when it does not start."""
    log = folder / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "millstream", "up"],
            cwd=folder,
            stderr=output,
            env={name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")},
        )
    deadline = time.monotonic() + START_WITHIN_S
    while b"Millstream is up" not in log.read_bytes():
        if up.poll() is not None or time.monotonic() > deadline:
            up.kill()
            raise RuntimeError(f"`millstream up` did not start:\n{log.read_text('utf-8')}")
        time.sleep(0.2)
    return up


def measured(up: psutil.Process, seconds: float) -> dict[str, dict[str, float]]:
    """Memory and CPU of a process and its descendants over a time, by their names."""
    processes = [up, *up.children(recursive=True)]
    before = {each.pid: used_s(each) for each in processes}
    began = time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - began
    rows: dict[str, dict[str, float]] = {}
    seen: Counter[str] = Counter()
    for each in processes:
        name = named(each)
        seen[name] += 1
        rows[f"{name} {seen[name]}" if seen[name] > 1 else name] = {
            "pss_mib": round(each.memory_full_info().pss / 2**20, 1),
            "cpu_percent": round(100 * (used_s(each) - before[each.pid]) / lasted, 2),
            "threads": each.num_threads(),
        }
    return rows


def used_s(process: psutil.Process) -> float:
    """CPU time that a process has used, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def named(process: psutil.Process) -> str:
    """What a process is, by its command line."""
    command = " ".join(process.cmdline())
    return next((name for part, name in PROGRAMS if part in command), command[:40])


if __name__ == "__main__":
    main()
