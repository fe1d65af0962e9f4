"""Generates events as workers write them, in any number, each with its own ids."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from millstream.schemas import Codec, EventBytes, EventKind, JobEvent, JobRequest, job_part
from millstream.schemas.ids import new_id

CODEC = Codec()
LIVES = 20_000
"""Jobs with distinct figures. Further ones repeat the figures under new ids, which is ten times as fast."""


def events(rows: int) -> Iterator[tuple[str, bytes]]:
    """Key and value of each event: for each job submitted, started, and an outcome, 3 % failed."""
    lives = list(_lives(min(LIVES, (rows + 2) // 3)))
    yield from itertools.islice(lives, rows)
    patterns = [
        (job_id.encode(), str(CODEC.decode(value, JobEvent).event_id).encode(), value)
        for job_id, value in (lives if rows > len(lives) else [])
    ]
    job_id = ""
    for number, (old_job, old_event, value) in enumerate(
        itertools.islice(itertools.cycle(patterns), max(0, rows - len(lives)))
    ):
        if number % 3 == 0:
            job_id = new_id()
        yield job_id, value.replace(old_job, job_id.encode()).replace(old_event, new_id().encode())


def _lives(jobs: int) -> Iterator[tuple[str, bytes]]:
    draw = random.Random(7)
    make = EventBytes(CODEC)
    nothing_yet = make.attempt_part({})
    now = datetime.now(UTC)
    for number in range(jobs):
        started = now + timedelta(milliseconds=50_000 * number // jobs)
        # A tenant uses a few of the job types, and a job type has its lane.
        tenant = draw.randrange(40)
        job_type = (tenant * 3 + draw.randrange(5)) % 25
        request = JobRequest(
            tenant=f"tenant-{tenant}",
            job_type=f"reports.type_{job_type}",
            lane=("high", "default", "bulk")[job_type % 3],
            source="bench",
            submitted_at=now,
            labels={"team": f"team-{number % 9}", "release": "2026.11.3"},
        )
        job = job_part(request)
        attempt = make.attempt_part(
            {
                "attempt": 1,
                "execution_id": request.job_id,
                "worker_id": f"worker-{number % 16}",
                "host": f"host-{number % 8}.example.org",
                "region": "eu-central-1",
                "instance_type": "m5.large",
                "worker_version": "4.2.0",
                "request_partition": number % 8,
                "request_offset": number,
                "started_at": started,
                "wait_ms": draw.expovariate(1 / 40),
            }
        )
        run_ms = draw.lognormvariate(5, 1)
        failed = draw.random() < 0.03
        outcome: dict[str, Any] = {"final": True, "run_ms": run_ms, "cpu_ms": run_ms / 3, "max_rss_bytes": 90_000_000}
        if failed:
            outcome |= {"error_type": "ValueError", "error_message": "no such page", "error_fingerprint": "f00d"}
            outcome |= {"stack": "  in render\n" * 40}
        kind = EventKind.FAILED if failed else EventKind.SUCCEEDED
        yield request.job_id, make.event(job, nothing_yet, EventKind.SUBMITTED, now)
        yield request.job_id, make.event(job, attempt, EventKind.STARTED, started)
        yield request.job_id, make.event(job, attempt, kind, started + timedelta(milliseconds=run_ms), **outcome)
