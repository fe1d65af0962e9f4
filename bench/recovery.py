"""Time until jobs run again after kill -9, on a stock broker configuration with default settings.

Long jobs run on every worker. One worker process is killed; each of its jobs starts again elsewhere, and the time from
the kill to the last of those starts is measured. The long jobs are then cancelled and new ones submitted before the
next kill: a job that ran in two processes that died is a poison suspect, and runs apart. First a child of a supervised
worker is killed repeatedly, then a whole worker. Meanwhile short jobs send events to every partition of `jobs.events`,
and a read_committed reader measures how long a partition was blocked.
"""

import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from harness import Harness

from millstream.local.broker import ApacheKafka
from millstream.local.process import ChildProcess
from millstream.producers import JobClient, NewJob
from millstream.schemas import Action, Codec, Command, EventKind, JobEvent, KafkaConnection, Scope, TopicCatalogue
from millstream.topics import apply_topics

LONG_JOBS = 24
WITHIN_S = 60.0
CHILD_SETTLED_S = 2.0
WORKER_SETTLED_S = 12.0
"""A restarted worker takes partitions over, and long jobs hold each of them for the revoke grace of 5 s."""


class EventWatch:
    """A read_committed reader of `jobs.events`: where each long job runs, and how long a partition was blocked."""

    def __init__(self, bootstrap: str, topics: TopicCatalogue) -> None:
        self.runs_on: dict[str, tuple[str, datetime]] = {}
        self.longest_gap_s = 0.0
        self._codec = Codec()
        self._stop = threading.Event()
        self._consumer = Consumer(KafkaConnection(bootstrap).consumer("watch"))
        partitions = self._consumer.list_topics(topics.events, 10).topics[topics.events].partitions
        self._consumer.assign([TopicPartition(topics.events, number, 0) for number in partitions])
        self._seen_at: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(1000, 0.05):
                now = time.monotonic()
                partition = message.partition() or 0
                self.longest_gap_s = max(self.longest_gap_s, now - self._seen_at.get(partition, now))
                self._seen_at[partition] = now
                event = self._codec.decode(message.value(), JobEvent)
                if event.kind is EventKind.STARTED and event.labels.get("long"):
                    assert event.started_at
                    self.runs_on[event.job_id] = (event.worker_id, event.started_at)


class Fleet:
    """Worker processes of one topic prefix, and a stream of short jobs."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.topics = TopicCatalogue(prefix)
        self._bootstrap = bootstrap
        self._folder = folder
        connection = KafkaConnection(bootstrap)
        apply_topics(connection, self.topics)
        self.watch = EventWatch(bootstrap, self.topics)
        self._client = JobClient(connection, self.topics)
        self._orders = Producer(connection.producer())
        self._long: list[str] = []
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed, daemon=True)

    def worker(self, name: str, *more: str) -> ChildProcess:
        return ChildProcess(
            [sys.executable, "-m", "millstream", "worker", "millstream.demo.jobs", "--name", name, *more],
            cwd=self._folder,
            env={
                **os.environ,
                "MILLSTREAM_KAFKA__BOOTSTRAP": self._bootstrap,
                "MILLSTREAM_TOPICS__PREFIX": self.topics.prefix,
                "MILLSTREAM_WORKER__GROUP": f"{self.topics.prefix}workers",
            },
        )

    def begin(self) -> None:
        """Start submitting short jobs."""
        self._feeder.start()

    def renew(self) -> None:
        """Cancel the long jobs, and wait until as many new ones run."""
        for job_id in self._long:
            order = Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=job_id)
            self._orders.produce(self.topics.commands, Codec().encode(order), order.key)
        self._orders.flush(10)
        long = NewJob("demo.sleep", {"seconds": 3600}, labels={"long": "yes"})
        self._long = self._client.submit_many([long] * LONG_JOBS)
        self.await_runs(lambda: self.watch.runs_on.keys() >= set(self._long))

    def await_runs(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"jobs did not run again within {WITHIN_S:g} s: {self.watch.runs_on}")
            time.sleep(0.02)

    def recovery_s(self, victim: str, kill: Callable[[], object]) -> float:
        """Kill and wait until each job of the victim runs again; seconds from the kill to the last start."""
        orphans = [job_id for job_id in self._long if self.watch.runs_on[job_id][0] == victim]
        killed_at = datetime.now(UTC)
        kill()
        self.await_runs(lambda: all(self.watch.runs_on[job_id][1] > killed_at for job_id in orphans))
        if not orphans:
            return 0.0
        return max((self.watch.runs_on[job_id][1] - killed_at).total_seconds() for job_id in orphans)

    def close(self) -> None:
        self._stop.set()
        self._feeder.join()
        self._client.close()
        self.watch.close()

    def _feed(self) -> None:
        while not self._stop.wait(0.1):
            self._client.submit_many([NewJob("demo.sleep", {"seconds": 0.01})] * 16)


def child(parent: ChildProcess, name: str) -> psutil.Process:
    """The supervised process of a name."""
    return next(each for each in psutil.Process(parent.pid).children() if f"--name {name} " in " ".join(each.cmdline()))


def percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 2)


def kill_children(fleet: Fleet, kills: int, dice: random.Random, advance: Callable[[int], None]) -> list[float]:
    """Kill a child of a supervised worker repeatedly."""
    supervised = fleet.worker("supervised", "--processes", "3")
    supervised.start()
    try:
        fleet.begin()
        taken: list[float] = []
        while len(taken) < kills:
            fleet.renew()
            time.sleep(CHILD_SETTLED_S + dice.random())
            victim = f"supervised-{dice.randrange(3)}"
            seconds = fleet.recovery_s(victim, child(supervised, victim).kill)
            if seconds:
                taken.append(seconds)
                advance(1)
        return taken
    finally:
        supervised.terminate()
        # Two signals within two seconds count as one.
        time.sleep(2.5)
        supervised.stop(10)


def kill_workers(fleet: Fleet, kills: int, dice: random.Random, advance: Callable[[int], None]) -> list[float]:
    """Kill a whole worker repeatedly; the others take over its jobs."""
    workers = {f"w{number}": fleet.worker(f"w{number}") for number in range(3)}
    for each in workers.values():
        each.start()
    try:
        fleet.begin()
        taken: list[float] = []
        while len(taken) < kills:
            fleet.renew()
            time.sleep(WORKER_SETTLED_S + dice.random())
            victim = dice.choice(list(workers))
            seconds = fleet.recovery_s(victim, workers[victim].kill)
            workers[victim].start()
            if seconds:
                taken.append(seconds)
                advance(1)
        return taken
    finally:
        for each in workers.values():
            each.kill()


def main() -> None:
    harness = Harness(__doc__)
    kills = 2 if harness.quick else 20
    dice = random.Random(7)
    results: dict[str, float | int] = {"kills_each": kills}
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as name:
        folder = Path(name)
        broker = ApacheKafka(folder, say=harness.say, stock=True)
        broker.start()
        try:
            for kind, kill in (("child", kill_children), ("worker", kill_workers)):
                fleet = Fleet(broker.bootstrap, f"{kind}.", folder)
                with harness.step(f"kill -9 of a {kind}", kills) as advance:
                    taken = kill(fleet, kills, dice, advance)
                results[f"{kind}_recovery_p50_s"] = percentile(taken, 50)
                results[f"{kind}_recovery_p95_s"] = percentile(taken, 95)
                results[f"{kind}_readers_stood_still_max_s"] = round(fleet.watch.longest_gap_s, 2)
                fleet.close()
        finally:
            broker.stop()
    harness.finish(results)


if __name__ == "__main__":
    main()
