"""Worker processes that a test may kill, jobs that keep coming, and the history of it all."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from millstream.local.process import ChildProcess
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.eventlog import EventLog
from tests.support.growth import grow
from tests.support.guarantees import History
from tests.support.paths import ROOT
from tests.support.worker_process import worker_process

TENANTS = ("acme", "globex", "initech")
KEYS = tuple(f"key-{number}" for number in range(8))


class Fleet:
    """Workers named w0, w1 ... of one topic prefix, with the demo's handlers. `beside_others`: other tenants write what
    they like to the topics, and their events do not count. `settings`: environment variables of the workers."""

    def __init__(
        self,
        bootstrap: str,
        topics: TopicCatalogue,
        folder: Path,
        seed: int,
        *,
        beside_others: bool = False,
        settings: Mapping[str, str] = MappingProxyType({"MILLSTREAM_WORKER__CONCURRENCY": "20"}),
    ) -> None:
        self.topics = topics
        self.dice = random.Random(seed)
        self._settings = settings
        self._bootstrap = bootstrap
        self._folder = folder
        self._client = JobClient(KafkaConnection(bootstrap), topics, delivery_timeout_s=120)
        self._log = EventLog(bootstrap, topics.events, TENANTS if beside_others else None)
        self._accepted: list[str] = []
        self._keys: dict[str, list[str]] = defaultdict(list)
        self._stop = threading.Event()
        self._feeder: threading.Thread | None = None
        self._names: set[str] = set()
        self.workers: list[ChildProcess] = []

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._feeder is not None:
            self._feeder.join(150)
        for worker in self.workers:
            worker.kill()
        self._client.close()
        self._log.close()

    def start(self, count: int, *arguments: str, handlers: str = "millstream.demo.jobs", release: Path = ROOT) -> None:
        """Start workers of the release in this folder; returns before they are ready."""
        for number in range(count):
            worker = self._worker(number, release, handlers, *arguments)
            worker.start()
            self._names.add(self._name(number))
            self.workers.append(worker)

    def replace(self, number: int, release: Path) -> None:
        """Stop a worker, and start one of another release under its name."""
        assert self.workers[number].stop(60) == 0, self.workers[number].tail
        self.workers[number] = self._worker(number, release, "millstream.demo.jobs")
        self.workers[number].start()

    def grow(self, partitions: int) -> None:
        """Give every topic of work so many partitions, in the order of keys, while jobs arrive."""
        grow(self._bootstrap, self.topics, partitions)
        self._log.find_partitions()

    def submit(self, jobs: list[NewJob]) -> list[str]:
        """Submit and note what Kafka acknowledged."""
        ids = self._client.submit_many(jobs)
        for job, job_id in zip(jobs, ids, strict=True):
            if job.ordering_key:
                self._keys[f"{job.tenant}/{job.ordering_key}"].append(job_id)
        self._accepted += ids
        return ids

    def feed(self, per_second: int = 100, job: Callable[[int], NewJob] | None = None) -> None:
        """Keep submitting jobs until `history`: what `job` makes of a number below `per_second` / 10, or short jobs of
        all tenants, a quarter of them with an ordering key."""
        make = job or self._job

        def run() -> None:
            while not self._stop.wait(0.1):
                self.submit([make(number) for number in range(per_second // 10)])

        self._feeder = threading.Thread(target=run, daemon=True)
        self._feeder.start()

    def await_ends(self, count: int) -> None:
        """Read until so many jobs more have ended."""
        wanted, deadline = len(self._log.finished) + count, time.monotonic() + 120
        while len(self._log.finished) < wanted:
            assert time.monotonic() < deadline, self._report(f"only {len(self._log.finished)} of {wanted} jobs ended")
            self._log.read()

    def started(self, job_ids: list[str]) -> set[str]:
        """Those of these jobs that have started, as far as was read."""
        return {job_id for job_id in job_ids if self._log.started[job_id]}

    def await_everyone(self, submit_more: Callable[[], None] = lambda: None) -> None:
        """Read until each worker has sent another event. `submit_more` is for jobs that do not come by themselves:
        those of the beginning may all have run before the last worker has its partitions."""
        seen, deadline = len(self._log.events), time.monotonic() + 120
        while idle := self._names - {event.worker_id for event in self._log.events[seen:]}:
            assert time.monotonic() < deadline, self._report(f"no job was run by {', '.join(sorted(idle))}")
            submit_more()
            self._log.read()

    def await_line(self, worker: ChildProcess, text: str) -> None:
        """Read events until a line of the worker's output holds this text."""
        deadline = time.monotonic() + 60
        while text not in worker.tail:
            assert time.monotonic() < deadline, self._report(f"no line has {text}")
            self._log.read(0.1)

    def pause(self, least_s: float, most_s: float) -> None:
        """Let a random time go by."""
        deadline = time.monotonic() + self.dice.uniform(least_s, most_s)
        while time.monotonic() < deadline:
            self._log.read(0.05)

    def history(self, within_s: float = 180) -> History:
        """Stop feeding, wait until every accepted job has ended, and read for one more second what may be doubled."""
        self._stop.set()
        if self._feeder is not None:
            self._feeder.join(150)
            assert not self._feeder.is_alive()
        wanted, deadline = set(self._accepted), time.monotonic() + within_s
        while not wanted <= self._log.finished and time.monotonic() < deadline:
            assert all(worker.is_alive() for worker in self.workers), [worker.tail for worker in self.workers]
            self._log.read()
        for _ in range(10):
            self._log.read(0.1)
        if missing := wanted - self._log.finished:
            print(self._report(f"{len(missing)} of {len(wanted)} jobs have not ended after {within_s:g} s"))
        return History(list(self._accepted), list(self._log.events), dict(self._keys))

    def _report(self, what: str) -> str:
        """What went wrong, with how much was accepted and the last lines of each worker."""
        tails = "\n".join(worker.tail for worker in self.workers)
        return f"{what}; {len(self._accepted)} accepted, {len(self._log.events)} events read\n{tails}"

    def _job(self, number: int) -> NewJob:
        dice = self.dice
        key = dice.choice(KEYS) if number % 4 == 0 else ""
        seconds = 0.005 if key else dice.uniform(0.005, 0.15)
        return NewJob("demo.sleep", {"seconds": seconds}, tenant=dice.choice(TENANTS), ordering_key=key)

    def process_deaths(self) -> list[int]:
        """How many processes of each supervised worker have ended by themselves."""
        return [
            self._log_of(number).read_text("utf-8").count("worker_process_died") for number in range(len(self.workers))
        ]

    def _log_of(self, number: int) -> Path:
        return self._folder / f"{self._name(number)}.log"

    def _name(self, number: int) -> str:
        return f"{self.topics.prefix}w{number}"

    def _worker(self, number: int, release: Path, handlers: str, *arguments: str) -> ChildProcess:
        return worker_process(
            self._bootstrap,
            self.topics,
            self._folder,
            handlers,
            self._name(number),
            *arguments,
            release=release,
            log=self._log_of(number),
            **self._settings,
        )
