"""Events per second of one tracker process, its CPU time an event, and the memory that the state of a job takes.

The events are in Kafka before the tracker starts: for each job submitted, started and an outcome. The time runs from
the first event that the tracker has applied to the last. The broker runs on the same machine.

events_per_s            of all the time, with the broker and the other processes of the machine beside it
cpu_us_per_event        CPU time of the tracker's process, all threads; what a core could do is 1,000,000 / this
memory_bytes_per_job    growth of the tracker's resident memory by the jobs it keeps, with their keys and changelog
start_mb                resident memory of a tracker without states
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from confluent_kafka import Producer
from event_load import events
from harness import Harness

from millstream.local.broker import choose_broker
from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics

READY_WITHIN_S = 120.0
EVENTS_PER_TRANSACTION = 2_000
POLL_S = 0.05


def main() -> None:
    harness = Harness(__doc__, _options)
    rows = harness.options.events or (60_000 if harness.quick else 600_000)
    rows -= rows % 3
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder:
        broker = choose_broker(harness.options.broker, Path(folder) / "kafka", say=harness.say)
        broker.start()
        try:
            topics = TopicCatalogue("bench.")
            apply_topics(KafkaConnection(broker.bootstrap), topics)
            with harness.step("starting without events", 1):
                empty = TrackerProcess(broker.bootstrap, topics, Path(folder))
                start_bytes = empty.memory_once_ready()
                empty.stop()
            with harness.step("producing", rows) as advance:
                produce(broker.bootstrap, topics, rows, advance)
            tracker = TrackerProcess(broker.bootstrap, topics, Path(folder))
            try:
                with harness.step("tracking", rows) as advance:
                    seconds, cpu_s, timed = tracker.follow(rows, advance)
                grown = tracker.memory() - start_bytes
            finally:
                tracker.stop()
        finally:
            broker.stop()
    harness.finish(
        {
            "events": rows,
            "events_per_s": round(timed / seconds, 1),
            "cpu_us_per_event": round(1e6 * cpu_s / timed, 1),
            "cpu_cores": round(cpu_s / seconds, 2),
            "memory_bytes_per_job": round(grown / (rows // 3)),
            "start_mb": round(start_bytes / 1e6, 1),
            "kafka": broker.kind,
        }
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, help="how many events (default: 600,000; 60,000 with --quick)")


class TrackerProcess:
    """`millstream tracker` as a process."""

    def __init__(self, bootstrap: str, topics: TopicCatalogue, folder: Path) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._process = ChildProcess(
            [sys.executable, "-m", "millstream", "tracker"],
            cwd=folder,
            env={
                **os.environ,
                "MILLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
                "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
                "MILLSTREAM_TRACKER__PORT": str(port),
            },
        )
        self._process.start()

    def memory(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def memory_once_ready(self) -> int:
        deadline = time.monotonic() + READY_WITHIN_S
        while self._counted("/health").get("ready") is not True:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the tracker did not become ready\n{self._process.tail}")
            time.sleep(POLL_S)
        return self.memory()

    def follow(self, rows: int, advance: Callable[[int], None]) -> tuple[float, float, int]:
        """Wait until all events are applied. Seconds, CPU seconds and events from the first one seen on."""
        deadline = time.monotonic() + READY_WITHIN_S
        applied = 0
        while not applied:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the tracker has applied nothing\n{self._process.tail}")
            applied = int(self._counted("/counts").get("events", 0))
        first, began, cpu_before = applied, time.perf_counter(), self._cpu_s()
        while applied < rows:
            time.sleep(POLL_S)
            now = int(self._counted("/counts").get("events", applied))
            advance(now - applied)
            applied = now
        return time.perf_counter() - began, self._cpu_s() - cpu_before, rows - first

    def stop(self) -> None:
        self._process.stop(20)

    def _cpu_s(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def _counted(self, path: str) -> dict[str, Any]:
        if not self._process.is_alive():
            raise RuntimeError(f"the tracker has ended\n{self._process.tail}")
        try:
            found: dict[str, Any] = httpx.get(f"{self._url}{path}", timeout=10).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return found


def produce(bootstrap: str, topics: TopicCatalogue, rows: int, advance: Callable[[int], None]) -> None:
    """Write the events in transactions, as workers do."""
    producer = Producer(KafkaConnection(bootstrap).producer(transactional_id="bench"))
    producer.init_transactions(30)
    producer.begin_transaction()
    for number, (job_id, value) in enumerate(events(rows), 1):
        producer.produce(topics.events, value, job_id.encode())
        if number % EVENTS_PER_TRANSACTION == 0:
            producer.commit_transaction(30)
            producer.begin_transaction()
            advance(EVENTS_PER_TRANSACTION)
    producer.commit_transaction(30)


if __name__ == "__main__":
    main()
