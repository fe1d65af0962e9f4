"""How well does `millstream simulate` predict the waits of jobs?

Jobs arrive at random, at the same moments and with the same run times in two runs: first on a worker with enough slots
for all of them, then on one with barely enough. `millstream simulate` replays the first run from ClickHouse with the
concurrency of the second worker; the second run then measures the waits.

predicted_p50_wait_s, predicted_p95_wait_s   of the small worker, from the record of the large one
measured_p50_wait_s, measured_p95_wait_s     of the small worker
p95_error_percent                            error of the prediction, of the measured wait
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client
from harness import Harness
from rich.console import Console

from millstream.clickhouse import connect
from millstream.local.services import RunningService, Service, ServiceLog
from millstream.local.stack import LocalStack
from millstream.producers import AsyncJobClient

MEAN_RUN_S = 0.25
LARGE, SMALL = 60, 10
OVERLOAD = (0.7, 1.25, 0.6)
"""Load of the small worker in each third of a run: waits grow in the second and shrink in the third."""
GIVE_UP_AFTER_S = 120.0


@dataclass(frozen=True)
class Planned:
    """A job: when it is submitted, in seconds from the start, and how long it runs, in seconds."""

    at_s: float
    run_s: float


def main() -> None:
    harness = Harness(__doc__)
    seconds = 12 if harness.quick else 60
    jobs = list(plan(seconds))
    with harness.stack() as stack:
        client = connect(stack.settings)
        with service(stack, Service("sink", ("sink",))):
            began, ended = run(harness, stack, client, jobs, LARGE)
            foretold = simulate(stack, began, ended)
            began, ended = run(harness, stack, client, jobs, SMALL)
            measured = waits(client, began, ended)
    p50, p95 = foretold["p50_s"], foretold["p95_s"]
    harness.finish(
        {
            "jobs": len(jobs),
            "recorded_concurrency": LARGE,
            "scenario_concurrency": SMALL,
            "predicted_p50_wait_s": round(p50, 3),
            "measured_p50_wait_s": round(measured[0], 3),
            "predicted_p95_wait_s": round(p95, 3),
            "measured_p95_wait_s": round(measured[1], 3),
            "p95_error_percent": round(100 * abs(p95 - measured[1]) / measured[1], 1),
        }
    )


def plan(seconds: float) -> Iterator[Planned]:
    draw, at = random.Random(5), 0.0
    while at < seconds:
        load = OVERLOAD[int(3 * at / seconds)]
        at += draw.expovariate(load * SMALL / MEAN_RUN_S)
        yield Planned(at, draw.expovariate(1 / MEAN_RUN_S))


@contextmanager
def service(stack: LocalStack, wanted: Service) -> Iterator[None]:
    running = RunningService(wanted, stack.environment, ServiceLog(Console(stderr=True), "warning"), stack.folder)
    running.start()
    try:
        if not running.ready.wait(GIVE_UP_AFTER_S):
            raise SystemExit(f"{wanted.name} is not ready:\n{running.process.tail}")
        yield
    finally:
        running.process.stop(20)


def run(
    harness: Harness, stack: LocalStack, client: Client, jobs: Sequence[Planned], concurrency: int
) -> tuple[datetime, datetime]:
    """Submit each job when it is due and wait until all have ended; returns the window of this run."""
    worker = Service(
        "worker",
        ("worker", "millstream.demo.jobs", "--name", f"worker-{concurrency}", "--concurrency", str(concurrency)),
        {"MILLSTREAM_WORKER__LIMIT": "fixed"},
        ready_event="worker_ready",
    )
    with service(stack, worker), harness.step(f"running {concurrency} at once", len(jobs)) as advance:
        began = datetime.now(UTC)
        asyncio.run(submit(stack, jobs))
        await_ends(client, began, len(jobs), advance)
    # The command takes whole seconds.
    time.sleep(2)
    return began, datetime.now(UTC)


async def submit(stack: LocalStack, jobs: Sequence[Planned]) -> None:
    async with AsyncJobClient(stack.settings.connection, stack.settings.catalogue) as client:
        began = time.monotonic()
        waiting = []
        for job in jobs:
            await asyncio.sleep(began + job.at_s - time.monotonic())
            waiting.append(asyncio.ensure_future(client.submit("demo.sleep", {"seconds": job.run_s})))
        await asyncio.gather(*waiting)


def await_ends(client: Client, began: datetime, jobs: int, advance: Callable[[int], None]) -> None:
    deadline, ended = time.monotonic() + GIVE_UP_AFTER_S, 0
    while ended < jobs:
        if time.monotonic() > deadline:
            raise SystemExit(f"{ended} of {jobs} jobs ended")
        time.sleep(0.5)
        now = client.query(
            "SELECT count() FROM job_attempts WHERE finished_at >= {began:DateTime64(6, 'UTC')}",
            parameters={"began": began},
        ).result_rows[0][0]
        advance(now - ended)
        ended = now


def simulate(stack: LocalStack, began: datetime, ended: datetime) -> dict[str, float]:
    """The waits of the small worker that the command predicts."""
    window = [f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in (began, ended + timedelta(seconds=1))]
    said = subprocess.run(
        [
            *(sys.executable, "-m", "millstream", "simulate", "--from", window[0], "--to", window[1]),
            *("--scenario", f"workers=1,concurrency={SMALL}", "--json"),
        ],
        env={**os.environ, **stack.environment},
        cwd=stack.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise SystemExit(said.stderr)
    (outcome,) = json.loads(said.stdout)["outcomes"]
    return dict(outcome["waits"])


def waits(client: Client, began: datetime, ended: datetime) -> tuple[float, float]:
    """p50 and p95 in seconds, of all attempts that ended in the window."""
    row = client.query(
        "SELECT quantileExact(0.5)(assumeNotNull(wait_ms)) / 1000, quantileExact(0.95)(assumeNotNull(wait_ms)) / 1000 "
        "FROM job_attempts WHERE finished_at >= {began:DateTime64(6, 'UTC')} "
        "AND finished_at < {ended:DateTime64(6, 'UTC')}",
        parameters={"began": began, "ended": ended},
    ).result_rows[0]
    return float(row[0]), float(row[1])


if __name__ == "__main__":
    main()
