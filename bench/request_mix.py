"""CPU time of a worker for each no-op job, by what the requests look like.

A worker runs the same number of jobs of each mix, in a lane of its own: equal requests; requests each with a trace of
its own; with a deadline of its own; and of 10,000 tenants in turn. The mixes take turns three times. The warm-up, a
fifth of the jobs, is left out.

MIX_cpu_us_per_job    CPU time of the worker process, in microseconds, in the best of its turns: what else runs on the
                      machine adds to it; mixes are plain, traces, deadlines, tenants
MIX_to_plain          relative to equal requests
"""

import math
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer
from harness import Harness, Value
from peers.systems import measure, working

from millstream.local.stack import LocalStack
from millstream.schemas import Codec, JobRequest

JOBS = 80_000
TURNS = 3
QUICK_JOBS = 30_000
TENANTS = 10_000


def plain(number: int) -> dict[str, object]:
    """Requests that differ in id and time of submission only."""
    return {}


def traces(number: int) -> dict[str, object]:
    """As of a producer that is traced."""
    return {"traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01"}


def deadlines(number: int) -> dict[str, object]:
    """An hour for each, from its submission."""
    return {"deadline": datetime.now(UTC) + timedelta(hours=1)}


def tenants(number: int) -> dict[str, object]:
    """Each tenant has a job in turn."""
    return {"tenant": f"tenant-{number % TENANTS}"}


MIXES: tuple[Callable[[int], dict[str, object]], ...] = (plain, traces, deadlines, tenants)


class Mix:
    """Millstream with requests of one mix, in a lane of its own."""

    at_least_once = True

    def __init__(self, stack: LocalStack, fields: Callable[[int], dict[str, object]]) -> None:
        self.name = fields.__name__
        self._stack = stack
        self._fields = fields

    def submit(self, job: str, count: int, seconds: float = 0.0) -> int:
        settings, codec = self._stack.settings, Codec()
        lane = settings.catalogue.lane(LANES[self.name])
        producer = Producer(settings.connection.producer(queue_buffering_max_messages=count))
        for number in range(count):
            fields = {"tenant": "acme", "payload": b"{}", "job_type": f"bench.{job}", "source": "bench"}
            request = JobRequest.model_validate({**fields, **self._fields(number)})
            producer.produce(lane, codec.encode(request), request.record_key)
            if number % 1_000 == 0:
                producer.poll(0)
        producer.flush()
        return count

    def command(self, processes: int, concurrency: int) -> tuple[list[str], Mapping[str, str]]:
        command = [sys.executable, "-m", "millstream", "worker", "peers.millstream_jobs", "--name", "bench"]
        return [*command, "--lane", LANES[self.name]], self._stack.environment


LANES = {"plain": "default", "traces": "high", "deadlines": "bulk", "tenants": "tenants"}


def main() -> None:
    harness = Harness(__doc__)
    results: dict[str, Value] = {}
    cpu_us: dict[str, float] = {}
    jobs, turns = (QUICK_JOBS, 1) if harness.quick else (JOBS, TURNS)
    os.environ["MILLSTREAM_TOPICS__LANES"] = '["high", "default", "bulk", "tenants"]'
    with harness.stack() as stack:
        for mix in [Mix(stack, fields) for fields in MIXES] * turns:
            with harness.step(mix.name, jobs) as advance:
                mix.submit("noop", jobs)
                with working(mix) as worker:
                    run = measure(worker, jobs // 5, jobs)
                advance(jobs)
            cpu_us[mix.name] = min(run.cpu_s_per_1000_jobs * 1000, cpu_us.get(mix.name, math.inf))
    for name, us in cpu_us.items():
        results[f"{name}_cpu_us_per_job"] = round(us, 1)
        results[f"{name}_to_plain"] = round(us / cpu_us["plain"], 2)
    harness.finish(results)


if __name__ == "__main__":
    main()
