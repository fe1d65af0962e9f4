"""Events of synthetic jobs, as workers write them, for tests of what reads the topic."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from millstream.schemas import Codec, EventBytes, EventKind, JobEvent, JobRequest, job_part

CODEC = Codec()
MAKE = EventBytes(CODEC)
KINDS = [EventKind.SUCCEEDED, EventKind.SUCCEEDED, EventKind.FAILED, EventKind.TIMED_OUT, EventKind.CANCELLED]


def life_of_jobs(jobs: int, seed: int = 1, around: datetime | None = None) -> Iterator[tuple[str, bytes]]:
    """Key and value of three events for each job (submitted, started, an outcome), spread over ten minutes."""
    draw = random.Random(seed)
    first = around or datetime.now(UTC)
    for number in range(jobs):
        submitted = first + timedelta(seconds=draw.random() * 600)
        request = JobRequest(
            tenant=f"tenant-{draw.randrange(5)}",
            job_type=f"reports.type_{draw.randrange(4)}",
            lane=draw.choice(["high", "default"]),
            submitted_at=submitted,
            labels={"team": "a", "number": str(number)},
        )
        wait_ms, run_ms = draw.expovariate(1 / 50), draw.lognormvariate(4, 1)
        started = submitted + timedelta(milliseconds=wait_ms)
        job, kind = job_part(request), draw.choice(KINDS)
        attempt = MAKE.attempt_part(
            {
                "attempt": 1,
                "execution_id": request.job_id,
                "request_partition": number % 4,
                "request_offset": number,
                "worker_id": f"worker-{number % 3}",
                "host": "host-1",
                "region": "eu-central-1",
                "instance_type": draw.choice(["m5.large", "unheard-of"]),
                "started_at": started,
                "wait_ms": wait_ms,
            }
        )
        outcome: dict[str, Any] = {"final": True, "run_ms": run_ms, "cpu_ms": run_ms / 2, "max_rss_bytes": 10_000_000}
        if kind is not EventKind.SUCCEEDED:
            outcome |= {"error_type": "ValueError", "error_message": "no such page"}
        yield request.job_id, MAKE.event(job, MAKE.attempt_part({}), EventKind.SUBMITTED, submitted)
        yield request.job_id, MAKE.event(job, attempt, EventKind.STARTED, started)
        yield request.job_id, MAKE.event(job, attempt, kind, started + timedelta(milliseconds=run_ms), **outcome)


def many_events(count: int) -> list[tuple[str, bytes]]:
    """`count` different events made fast: a few lives, each event with a job id of its own."""
    lives = list(life_of_jobs(300))
    ids = [JobRequest(tenant="t", job_type="j").job_id.encode() for _ in range(count)]
    events = []
    for number, job_id in enumerate(ids):
        key, value = lives[number % len(lives)]
        events.append((job_id.decode(), value.replace(key.encode(), job_id)))
    return events


def decoded(value: bytes) -> JobEvent:
    return CODEC.decode(value, JobEvent)
