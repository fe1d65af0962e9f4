"""The demonstration: start everything, run a workload, report, and count at every source."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import httpx
from clickhouse_connect.driver.client import Client
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from millstream.analytics import queries
from millstream.analytics.queries import AttemptCounts
from millstream.analytics.rca.attribution.explain import explain
from millstream.analytics.rca.questions.timeseries import timeseries
from millstream.analytics.rca.window import Window
from millstream.clickhouse import connect
from millstream.demo.incident import record_changes
from millstream.demo.trace import read_trace
from millstream.demo.verification import Outcomes, read_outcomes
from millstream.demo.workload import BAD_VERSION, GOOD_VERSION, INCIDENT_BEGINS, generated
from millstream.local.process import DidNotStart
from millstream.local.services import (
    RunningService,
    Service,
    ServiceLog,
    sink_service,
    stop_all,
    tracker_service,
)
from millstream.local.stack import LocalStack
from millstream.pages import render_terminal
from millstream.pages.answers.explanation import explanation_page
from millstream.pages.report import gather, render
from millstream.producers import JobClient, NewJob
from millstream.schemas import State
from millstream.settings import Settings
from millstream.terminal import cell, styled

SUBMIT_AT_ONCE = 200
READY_WITHIN_S = 120.0
WITHOUT_PROGRESS_S = 60.0
POLL_S = 0.25
STOP_GRACE_S = 10.0
INSTANCE_TYPES = ("m6i.large", "c6i.xlarge")

PLANNED = ("job_failed",)
"""What workers say of the failures that the demo plans."""


@dataclass(frozen=True)
class DemoPlan:
    """What to run: `jobs` of the generated workload or a `trace`, compressed to `seconds`, on which broker; `kill` a
    worker with -9 half way."""

    jobs: int = 6_000
    trace: Path | None = None
    seconds: float = 25.0
    broker: str = "auto"
    nodes: int = 1
    kill: bool = False


@dataclass(frozen=True)
class DemoResult:
    """What each source counted. `broker` is apache, tansu or address."""

    submitted: int
    finished: int
    outcomes: int
    in_clickhouse: int
    lost: int
    doubled: int
    seconds: float
    broker: str

    @property
    def agrees(self) -> bool:
        """Whether every source counted the same, nothing was lost and nothing doubled."""
        same = self.submitted == self.finished == self.outcomes == self.in_clickhouse
        return same and self.lost == 0 and self.doubled == 0 and self.submitted > 0

    @property
    def line(self) -> str:
        return (
            f"demo: submitted={self.submitted} finished={self.finished} outcomes={self.outcomes} "
            f"in_clickhouse={self.in_clickhouse} lost={self.lost} doubled={self.doubled} "
            f"seconds={self.seconds:.0f} broker={self.broker}"
        )


class Demo:
    """One run of the demonstration in a folder of its own that is removed at the end."""

    def __init__(self, plan: DemoPlan, out: Console, err: Console) -> None:
        self._plan = plan
        self._out = out
        self._err = err

    def run(self) -> DemoResult:
        begun = time.monotonic()
        # Fail on an unreadable trace before anything is started.
        jobs = list(self._jobs())
        with (
            tempfile.TemporaryDirectory(prefix="millstream-demo-") as folder,
            LocalStack(Path(folder), self._plan.broker, self._plan.nodes, say=self._say) as stack,
        ):
            services = self._services(stack)
            try:
                result = self._execute(stack, services, jobs, begun)
            finally:
                stop_all(services, STOP_GRACE_S)
        return result

    def _execute(
        self, stack: LocalStack, services: list[RunningService], jobs: list[tuple[float, NewJob]], begun: float
    ) -> DemoResult:
        settings = stack.settings
        self._start(services)
        start = datetime.now(UTC)
        client = connect(settings)
        victim = next(each for each in services if each.service.name == "worker-2")
        with self._progress() as progress:
            submitted, switched = self._submit(jobs, settings, progress, victim)
            finished = self._await_tracker(settings, progress, len(submitted))
            end = datetime.now(UTC) + timedelta(seconds=1)
            counts = self._await_clickhouse(client, progress, len(submitted), start, end)
            outcomes = self._read_back(settings, progress)
        self._out.print(render(gather(client, start, end), self._out.width))
        if self._plan.trace is None:
            record_changes(client, start, switched)
            self._explain(client, Window(start, switched), Window(switched, end))
        lost = outcomes.lost(submitted)
        result = DemoResult(
            submitted=len(submitted),
            finished=finished,
            outcomes=len(outcomes.attempts),
            in_clickhouse=counts.attempts,
            lost=len(lost),
            doubled=outcomes.doubled + counts.doubled,
            seconds=time.monotonic() - begun,
            broker=stack.broker.kind,
        )
        self._print_counts(result)
        return result

    def _services(self, stack: LocalStack) -> list[RunningService]:
        log = ServiceLog(self._err, least_level="warning", expected=PLANNED)
        services = [
            Service(
                f"worker-{number}",
                ("worker", "millstream.demo.jobs", "--name", f"worker-{number}"),
                {
                    "MILLSTREAM_WORKER__VERSION": version,
                    "MILLSTREAM_WORKER__INSTANCE_TYPE": instance_type,
                    "MILLSTREAM_WORKER__REGION": "local",
                },
                ready_event="worker_ready",
            )
            for number, version, instance_type in zip((1, 2), (GOOD_VERSION, BAD_VERSION), INSTANCE_TYPES, strict=True)
        ]
        services += [tracker_service(stack.settings), sink_service(stack.settings)]
        return [RunningService(each, stack.environment, log) for each in services]

    def _start(self, services: list[RunningService]) -> None:
        for each in services:
            each.start()
        deadline = time.monotonic() + READY_WITHIN_S
        for each in services:
            while not each.responds:
                if not each.process.is_alive() or time.monotonic() > deadline:
                    raise DidNotStart(f"{each.service.name} did not become ready:\n{each.process.tail}")
                time.sleep(0.1)
        self._say("two workers, tracker and sink are ready")

    def _submit(
        self, jobs: list[tuple[float, NewJob]], settings: Settings, progress: Progress, victim: RunningService
    ) -> tuple[list[str], datetime]:
        """Submit the workload at its pace; returns the ids of the jobs that Kafka acknowledged, and when the planted
        incident begins."""
        switched: datetime | None = None
        task = progress.add_task("submitted", total=len(jobs))
        ids: list[str] = []
        begun = time.monotonic()
        with JobClient(settings.connection, settings.catalogue, settings.codec, source="demo") as client:
            for at, batch in _paced(jobs, self._plan.seconds):
                time.sleep(max(0.0, begun + at - time.monotonic()))
                if switched is None and len(ids) + len(batch) > INCIDENT_BEGINS * len(jobs):
                    switched = datetime.now(UTC)
                ids += client.submit_many(batch)
                progress.update(task, completed=len(ids))
                if self._plan.kill and victim.process.is_alive() and len(ids) >= len(jobs) // 2:
                    self._say(f"kill -9 {victim.service.name} (pid {victim.process.pid})")
                    victim.process.kill()
        return ids, switched or datetime.now(UTC)

    def _jobs(self) -> Iterator[tuple[float, NewJob]]:
        """The workload as (moment, job); moments are fractions of the run, from 0 to 1."""
        plan = self._plan
        if plan.trace is None:
            for number, job in enumerate(generated(plan.jobs)):
                yield number / plan.jobs, job
            return
        span = max(each.at for each in read_trace(plan.trace, 0.0)) or 1.0
        for each in read_trace(plan.trace, plan.seconds / span):
            yield each.at / span, each.job

    def _await_tracker(self, settings: Settings, progress: Progress, expected: int) -> int:
        tracker = settings.tracker

        def ended() -> int:
            states = httpx.get(f"{tracker.url}/counts", headers=tracker.headers, timeout=10).json()["states"]
            return sum(states.get(state, 0) for state in State if state.terminal)

        return self._await("finished, by the tracker", ended, progress, expected)

    def _await_clickhouse(
        self, client: Client, progress: Progress, expected: int, start: datetime, end: datetime
    ) -> AttemptCounts:
        def stored() -> int:
            return queries.attempt_counts(client, start, end).attempts

        self._await("attempts in ClickHouse", stored, progress, expected)
        return queries.attempt_counts(client, start, end)

    def _await(self, what: str, count: Callable[[], int], progress: Progress, expected: int) -> int:
        """Wait until `count` is what is expected, for as long as it grows; returns the last count."""
        task = progress.add_task(what, total=expected)
        last, grew_at = 0, time.monotonic()
        while True:
            now_counted = count()
            progress.update(task, completed=now_counted)
            if now_counted >= expected:
                return now_counted
            if now_counted > last:
                last, grew_at = now_counted, time.monotonic()
            elif (stood_s := time.monotonic() - grew_at) > self._patience():
                self._say(f"{what}: gave up, {now_counted:,} of {expected:,}; no new one for {stood_s:.0f} s")
                return now_counted
            time.sleep(POLL_S)

    def _read_back(self, settings: Settings, progress: Progress) -> Outcomes:
        task = progress.add_task("events read back", total=None)
        return read_outcomes(
            settings.connection,
            settings.catalogue.events,
            settings.codec,
            lambda read: progress.update(task, completed=read, total=read),
        )

    def _patience(self) -> float:
        """Seconds to wait without progress: a killed worker's partitions move after its session and transaction end."""
        return WITHOUT_PROGRESS_S + (30.0 if self._plan.kill else 0.0)

    def _explain(self, client: Client, before: Window, incident: Window) -> None:
        """Print what root cause analysis finds about the planted incident."""
        found = explain(client, "failure_rate", incident, baseline=(before,))
        page = explanation_page(found, timeseries(client, "failure_rate", incident))
        self._out.print(render_terminal(page, self._out.width))

    def _print_counts(self, result: DemoResult) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", title="Counted at each source")
        table.title_justify = "left"
        table.title_style = "bold"
        table.add_column("what")
        table.add_column("counted by")
        table.add_column("", justify="right")
        for what, source, count in (
            ("requests acknowledged", "the producer", result.submitted),
            ("jobs in a terminal state", "the tracker", result.finished),
            ("attempts with an outcome", "an independent read_committed reader", result.outcomes),
            ("attempts stored", "ClickHouse", result.in_clickhouse),
            ("jobs lost", "producer against reader", result.lost),
            ("outcomes doubled", "reader and ClickHouse", result.doubled),
        ):
            wrong = count != (0 if what in ("jobs lost", "outcomes doubled") else result.submitted)
            table.add_row(what, source, cell(f"{count:,}", "red" if wrong else "green"))
        self._out.print(table)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._err)

    def _say(self, text: str) -> None:
        self._err.print(styled((text, "dim")))


def _paced(jobs: list[tuple[float, NewJob]], seconds: float) -> Iterator[tuple[float, list[NewJob]]]:
    """The jobs in batches, each with the moment (seconds from the start) at which it is due."""
    waiting = iter(jobs)
    while batch := list(islice(waiting, SUBMIT_AT_ONCE)):
        yield batch[0][0] * seconds, [job for _, job in batch]
