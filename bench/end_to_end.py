"""Throughput of each part of the platform, and the wait of a job at low load.

Broker and ClickHouse run on the same machine as everything else. The parts are measured one after the other, each on
the output of the one before, so that they do not compete for the processor:

submits_per_s          one producer, jobs in bulk, until all are acknowledged
jobs_per_s             one worker process, no-op jobs, all events on; from the first outcome to the last
tracker_events_per_s   one tracker on the events of these jobs, from the first to the last that it processed
sink_rows_per_s        one sink on the same events, from the first row in ClickHouse to the last
submit_to_start_ms     all parts running, 50 jobs a second submitted one by one; from submission to the handler's start

memory_mb is the resident memory of each process at the end.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from confluent_kafka import Consumer, TopicPartition
from harness import Harness
from rich.console import Console

from millstream.clickhouse import connect
from millstream.local.services import RunningService, Service, ServiceLog
from millstream.local.stack import LocalStack
from millstream.producers import JobClient, NewJob
from millstream.schemas import OUTCOMES, EventKind, JobEvent

PACE_PER_S = 50
GIVE_UP_AFTER_S = 120.0


def main() -> None:
    harness = Harness(__doc__)
    jobs, seconds = (6_000, 5) if harness.quick else (60_000, 30)
    with harness.stack() as stack:
        submits_per_s = submit(harness, stack, jobs)
        with services(stack, worker()):
            events = read_outcomes(harness, stack, jobs)
        outcomes = sorted(event.occurred_at for event in events if event.kind in OUTCOMES)
        jobs_per_s = jobs / (outcomes[-1] - outcomes[0]).total_seconds()
        with services(stack, Service("tracker", ("tracker",))):
            tracker_per_s = rate(harness, "tracker", len(events), lambda: tracked(stack))
        client = connect(stack.settings)
        with services(stack, Service("sink", ("sink",))):
            sink_per_s = rate(
                harness, "sink", len(events), lambda: int(str(client.command("SELECT count() FROM job_events")))
            )
        everything = (worker(), Service("tracker", ("tracker",)), Service("sink", ("sink",)))
        with services(stack, *everything) as all_running:
            waits = trickle(harness, stack, seconds)
            memory = {each.service.name: megabytes(each.process.pid) for each in all_running}
            memory |= {name: megabytes(pid) for name, pid in children_of_the_stack().items()}
    p50, p95, p99 = (statistics.quantiles(waits, n=100)[at] for at in (49, 94, 98))
    harness.finish(
        {
            "submits_per_s": submits_per_s,
            "jobs_per_s": round(jobs_per_s, 1),
            "tracker_events_per_s": tracker_per_s,
            "sink_rows_per_s": sink_per_s,
            "submit_to_start_p50_ms": round(p50, 2),
            "submit_to_start_p95_ms": round(p95, 2),
            "submit_to_start_p99_ms": round(p99, 2),
            "memory_mb": memory,
            "jobs": jobs,
            "events": len(events),
        }
    )


def worker() -> Service:
    return Service("worker", ("worker", "noop_jobs", "--name", "bench"), ready_event="worker_ready")


@contextmanager
def services(stack: LocalStack, *wanted: Service) -> Iterator[list[RunningService]]:
    """Run services until the block ends."""
    log = ServiceLog(Console(stderr=True), "warning")
    running = [RunningService(each, stack.environment, log, folder=Path(__file__).parent) for each in wanted]
    try:
        for each in running:
            each.start()
        for each in running:
            if not each.ready.wait(60):
                raise RuntimeError(f"{each.service.name} did not become ready")
        yield running
    finally:
        for each in running:
            each.process.stop(20)


def submit(harness: Harness, stack: LocalStack, jobs: int) -> float:
    settings = stack.settings
    with JobClient(settings.connection, settings.catalogue) as client, harness.step("submit", jobs) as advance:
        began, done = time.perf_counter(), 0
        while done < jobs:
            done += len(client.submit_many([NewJob("bench.noop", {"n": n}) for n in range(1000)]))
            advance(1000)
        return round(jobs / (time.perf_counter() - began), 1)


def read_outcomes(harness: Harness, stack: LocalStack, jobs: int) -> list[JobEvent]:
    """All events, read by an independent consumer, when each job has its outcome."""
    settings, codec = stack.settings, stack.settings.codec
    consumer = Consumer(settings.connection.consumer("bench"))
    partitions = consumer.list_topics(settings.catalogue.events, 10).topics[settings.catalogue.events].partitions
    consumer.assign([TopicPartition(settings.catalogue.events, number, 0) for number in partitions])
    values: list[bytes] = []
    with harness.step("worker", 3 * jobs) as advance:
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        # Two events a job besides `submitted`.
        while len(values) < 3 * jobs:
            messages = consumer.consume(10_000, 0.5)
            values += [message.value() or b"" for message in messages]
            advance(len(messages))
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {len(values)} of {3 * jobs} events came")
    consumer.close()
    return [codec.decode(value, JobEvent) for value in values]


def rate(harness: Harness, name: str, total: int, count: Callable[[], int]) -> float:
    """Units per second between the first and the last unit of an external counter."""
    with harness.step(name, total) as advance:
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        began, first, before = 0.0, 0, 0
        while True:
            now = count()
            if now and not first:
                began, first = time.perf_counter(), now
            advance(now - before)
            before = now
            if now >= total:
                return round((now - first) / max(time.perf_counter() - began, 1e-3), 1)
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name}: only {now} of {total}")
            time.sleep(0.02)


def tracked(stack: LocalStack) -> int:
    try:
        tracker = stack.settings.tracker
        return int(httpx.get(f"{tracker.url}/counts", headers=tracker.headers, timeout=5).json()["events"])
    except httpx.HTTPError:
        return 0


def trickle(harness: Harness, stack: LocalStack, seconds: int) -> list[float]:
    """Submit at a constant rate; returns the wait of each job in milliseconds."""
    settings, codec = stack.settings, stack.settings.codec
    consumer = Consumer(settings.connection.consumer("bench-trickle"))
    partitions = consumer.list_topics(settings.catalogue.events, 10).topics[settings.catalogue.events].partitions
    ends = [
        consumer.get_watermark_offsets(TopicPartition(settings.catalogue.events, number), 10)[1]
        for number in partitions
    ]
    consumer.assign(
        [TopicPartition(settings.catalogue.events, number, end) for number, end in zip(partitions, ends, strict=True)]
    )
    total = PACE_PER_S * seconds
    with (
        JobClient(settings.connection, settings.catalogue, linger_ms=0) as client,
        harness.step("50 jobs/s", total) as step,
    ):
        began = time.perf_counter()
        for number in range(total):
            time.sleep(max(0.0, began + number / PACE_PER_S - time.perf_counter()))
            client.submit("bench.noop", {"n": number})
            step(1)
    waits: list[float] = []
    while len(waits) < total:
        for message in consumer.consume(10_000, 0.5):
            event = codec.decode(message.value(), JobEvent)
            if event.kind is EventKind.STARTED and event.wait_ms is not None:
                waits.append(event.wait_ms)
    consumer.close()
    return waits


def children_of_the_stack() -> dict[str, int]:
    """The broker's and the engine's processes."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        line = " ".join(child.cmdline())
        if "kafka.Kafka" in line or "tansu" in line:
            found["broker"] = child.pid
        elif "millstream.local.clickhouse" in line:
            found["clickhouse"] = child.pid
    return found


def megabytes(pid: int) -> float:
    return round(psutil.Process(pid).memory_info().rss / 1e6, 1)


if __name__ == "__main__":
    main()
