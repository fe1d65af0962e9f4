"""Each right of a service, taken away before it starts and while it runs: what the table says happens, and no more.

One worker, one sink and one tracker run with the rights of the documentation. Each test takes one right from one of
them, lets others submit jobs meanwhile, and gives the right back. At its end every job that was ever submitted has one
outcome an attempt, each event one row in ClickHouse, and the tracker knows how each job ended.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

from millstream.announced_schemas import CONFIRM_S
from millstream.consumers.sink.sources import BY_TABLE
from millstream.producers import send_command
from millstream.rights.table import Operation, Row
from millstream.schemas import Action, Command, Scope
from millstream.schemas.codec import HEADER
from millstream.schemas.ids import new_id
from millstream.schemas.registry import pinned_schemas
from tests.support.databases import TestDatabase
from tests.support.installation import FAILURE, Installation
from tests.support.missing_rights import Case, Taken, cases, every_right, of_row
from tests.support.scenarios import SOAK, Scenario
from tests.support.secured_services import NOT_LET_IN, SecuredService, SecuredServices, secured_services
from tests.support.waiting import eventually, until

Situation = Literal["from its start", "while it runs"]
FROM_START: Situation = "from its start"
WHILE_RUNNING: Situation = "while it runs"
MOST_ALARMS = 40
"""Warnings and errors of a service without a right, at most: it does not spin."""

SLEEP_S = 3600
UNKNOWN_SCHEMAS = itertools.count(max(pinned_schemas()) + 1)
Waiting = list[str]
"""Jobs that wait for a right."""


@pytest.fixture(scope="module")
def services(
    installation: Installation, clickhouse_url: str, request: pytest.FixtureRequest
) -> Iterator[SecuredServices]:
    database = TestDatabase(clickhouse_url)
    with secured_services(installation, database.client(), clickhouse_url) as running:
        yield running
    database.drop()


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Shows how long it took until the right was named; on a machine that does other work that decides nothing."""
    return Scenario(request)


# What needs a right of the worker. Each function returns the jobs that wait for the right, all of them in the lane
# `high`, and is called when the right is missing.


def _jobs_of_lane(services: SecuredServices) -> Waiting:
    return services.submit(count=3, lane="high")


def _jobs_of_all_lanes(services: SecuredServices) -> Waiting:
    return services.submit(count=3, lane="high") + services.submit(count=3)


def _retries(services: SecuredServices) -> Waiting:
    return services.submit("t.fail", count=3, lane="high", max_attempts=2)


def _failures(services: SecuredServices) -> Waiting:
    return services.submit("t.fail", count=3, lane="high")


def _jobs_in_overflow(services: SecuredServices) -> Waiting:
    return [services.write_to_overflow("high") for _ in range(3)]


def _flood(services: SecuredServices) -> Waiting:
    services.worker.ensure()
    mark = services.worker.log.mark
    # A tenant alone is not moved: there was another one lately, and is again behind the flood.
    before = services.submit(count=5, lane="high")
    until(lambda: services.finished(before) == set(before))
    flood = services.submit("t.sleep", count=1200, payload=0.05, tenant="flood", lane="high")
    services.submit(count=5, lane="high")
    until(lambda: services.worker.log.contains("topic_unwritable", mark))
    return flood


def _cancelled_jobs(services: SecuredServices) -> Waiting:
    waiting = services.submit("t.sleep", payload=SLEEP_S, lane="high")
    until(lambda: services.finished(waiting) == set() and services.events.started[waiting[0]] > 0)
    command = Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=waiting[0])
    send_command(command, services.installation.broker.unrestricted, services.topics)
    return waiting


def _nothing(_: SecuredServices) -> Waiting:
    return []


@dataclass(frozen=True)
class Without:
    """What happens to a worker without a right. `waits`: what needs the right. `all_wait`: not one of what needs it is
    done meanwhile; of a flood a part needs it. `rest`: other jobs go on. `running`: whether it ends while it runs, or
    needs the right only when it starts."""

    waits: Callable[[SecuredServices], Waiting] = _nothing
    all_wait: bool = True
    rest: bool = True
    running: Literal["goes on", "ends", "does not need it"] = "goes on"


WORKER: dict[Case, Without] = {
    ("<prefix>worker-", "Write"): Without(_jobs_of_all_lanes, rest=False, running="ends"),
    ("<worker.group>.", "Read"): Without(_jobs_of_all_lanes, rest=False),
    ("<prefix>jobs.<lane>", "Read"): Without(_jobs_of_lane),
    ("<prefix>jobs.<lane>", "Write"): Without(_retries),
    ("<prefix>jobs.<lane>.overflow", "Read"): Without(_jobs_in_overflow),
    ("<prefix>jobs.<lane>.overflow", "Write"): Without(_flood, all_wait=False),
    ("<prefix>jobs.events", "Write"): Without(_jobs_of_all_lanes, rest=False),
    ("<prefix>jobs.events", "Read"): Without(running="does not need it"),
    ("<prefix>jobs.dead", "Write"): Without(_failures),
    ("<prefix>jobs.commands", "Read"): Without(_cancelled_jobs),
    ("<prefix>jobs.commands", "Write"): Without(_cancelled_jobs),
    ("<prefix>jobs.heartbeats", "Read"): Without(),
    ("<prefix>jobs.heartbeats", "Write"): Without(),
}
SHORT_WORKER = [
    ("<prefix>jobs.<lane>", "Read"),
    ("<prefix>jobs.dead", "Write"),
    ("<prefix>jobs.events", "Write"),
    ("<prefix>jobs.heartbeats", "Write"),
]

situations = pytest.mark.parametrize("situation", [pytest.param(FROM_START, marks=SOAK), WHILE_RUNNING])


class Experiment:
    """A service that lacks a right from entering to leaving; at the end everything goes on and is counted."""

    def __init__(
        self,
        services: SecuredServices,
        row: Row,
        operation: Operation,
        situation: Situation,
        scenario: Scenario,
    ) -> None:
        self.service: SecuredService = services.by_role[row.role]
        self.ends = situation == FROM_START and row.vital
        found = of_row(services.installation, row, operation)
        # A vital row lacks all that it stands for; of the others one lane stands for all.
        self.missing = found if self.ends else found[:1]
        self.since = 0
        self._services, self._row, self._situation, self._scenario = services, row, situation, scenario
        self._taken = Taken(services.installation, row.role, self.missing)

    def __enter__(self) -> "Experiment":
        self._services.settle()
        if self._situation == FROM_START:
            self.service.stop()
        elif self.service.lacked == self.missing:
            # A line is written at most once a minute.
            self.service.stop()
            self._services.settle()
        self.service.lacked = self.missing
        self.since = self.service.log.mark
        self._taken_at = time.monotonic()
        self._taken.__enter__()
        self.restart_clock()
        if self._situation == FROM_START:
            self.service.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._taken.__exit__()
        if kind is None:
            self._services.settle()

    def restart_clock(self) -> None:
        """From now on the right is needed."""
        self._since_s = time.monotonic()

    def await_noticed(self) -> None:
        """Wait until announcements that were read with the right are no longer believed; then it is needed."""
        time.sleep(3 * CONFIRM_S)
        self.restart_clock()

    def await_told(self) -> None:
        """Wait until the service has named the right."""
        log, user = self.service.log, self._row.role

        def told() -> float | str:
            """When it was named; until then what the service has written last."""
            found = log.told(user, self.missing, self.since)
            return (self.service.process.tail if self.service.process else "") if found is None else found

        told_at = eventually(told, lambda found: isinstance(found, float))
        self._scenario.figures(named_after_s=f"{max(0.0, told_at - self._since_s):.1f}")

    def assert_ends(self) -> None:
        code, tail = self.service.ended()
        assert code == NOT_LET_IN, tail
        self.await_told()

    def assert_calm(self) -> None:
        """The service runs, and says what is missing once a minute."""
        assert self.service.alive
        alarms = self.service.log.alarms(self.since)
        assert len(alarms) < MOST_ALARMS, alarms
        minutes = (time.monotonic() - self._taken_at) / 60
        assert self.service.log.most_repeated(self._row.role, self.missing, self.since) <= 1 + minutes, alarms
        assert not any("Traceback" in each and FAILURE not in each for each in alarms)


@situations
@pytest.mark.parametrize(("row", "operation"), every_right("worker", short=SHORT_WORKER))
def test_a_worker_without_a_right_names_it_and_does_all_else(
    services: SecuredServices,
    scenario: Scenario,
    situation: Situation,
    row: Row,
    operation: Operation,
) -> None:
    case = WORKER[row.name, operation]
    with Experiment(services, row, operation, situation, scenario) as experiment:
        if experiment.ends:
            experiment.assert_ends()
            return
        noticed_by_itself = operation == "Read" or situation == FROM_START
        if (noticed_by_itself and case.running == "goes on") or (situation == FROM_START and case.running != "ends"):
            experiment.await_told()
        else:
            experiment.restart_clock()
        waiting = case.waits(services)
        if case.running == "ends" and situation == WHILE_RUNNING:
            experiment.assert_ends()
            return
        if not noticed_by_itself:
            experiment.await_told()
        if case.rest:
            others = services.submit(count=5)
            until(lambda: services.finished(others) == set(others))
        done = services.finished(waiting)
        assert not done if case.all_wait else done < set(waiting)
        experiment.assert_calm()


def _record_of_each_table(services: SecuredServices) -> dict[str, Callable[[], int]]:
    """Write a record that each table gets, and return how many it has of it."""
    jobs = services.submit("t.fail")
    alert, change = services.write_alert(), services.write_change()
    now = time.time()
    heartbeats = "SELECT least(1, count()) FROM worker_heartbeats WHERE occurred_at > toDateTime64({now:Float64}, 6)"
    return {
        "job_events": lambda: services.stored(
            "SELECT count() FROM job_events WHERE kind = 'failed' AND job_id IN {jobs:Array(String)}", jobs=jobs
        ),
        "worker_heartbeats": lambda: services.stored(heartbeats, now=now),
        "alerts": lambda: services.rows_of("alerts", "fingerprint", [alert]),
        "dead_letters": lambda: services.rows_of("dead_letters", "job_id", jobs),
        "changes": lambda: services.rows_of("changes", "change_id", [change]),
    }


def _tables_of(row: Row, services: SecuredServices) -> set[str]:
    """The tables that get nothing when a right to read is missing."""
    names = services.installation.names
    if row.kind == "group":
        return set(BY_TABLE)
    (topic,) = names.of(row.name)
    return {source.table for source in BY_TABLE.values() if source.topic(services.topics) == topic}


def _unreadable_event() -> bytes:
    return b"no event"


def _event_of_unknown_schema() -> bytes:
    # One that nobody has asked for before.
    return HEADER.pack(0, next(UNKNOWN_SCHEMAS))


POISON: dict[Case, Callable[[], bytes]] = {
    ("<prefix>jobs.dead", "Write"): _unreadable_event,
    ("<prefix>jobs.commands", "Read"): _event_of_unknown_schema,
}
"""The event at which a partition waits without a right."""

SHORT_SINK = [("<prefix>jobs.heartbeats", "Read")]


@situations
@pytest.mark.parametrize(("row", "operation"), every_right("sink", short=SHORT_SINK))
def test_a_sink_without_a_right_names_it_and_fills_what_it_can(
    services: SecuredServices,
    scenario: Scenario,
    situation: Situation,
    row: Row,
    operation: Operation,
) -> None:
    poison, marker = POISON.get((row.name, operation)), new_id()
    with Experiment(services, row, operation, situation, scenario) as experiment:
        if experiment.ends:
            experiment.assert_ends()
            return
        if poison is None:
            experiment.await_told()
            found = _record_of_each_table(services)
            empty = _tables_of(row, services)
            until(lambda: all(found[table]() == 1 for table in found.keys() - empty))
            assert [found[table]() for table in empty] == [0] * len(empty)
        else:
            experiment.await_noticed()
            services.write(services.topics.events, marker.encode(), poison(), partition=0)
            experiment.await_told()
            log = services.sink.log
            until(lambda: any(log.contains(event, experiment.since) for event in ("insert_failed", "partition_held")))
            jobs = services.submit(count=12)
            behind = [each for each in jobs if services.partition_of(each) == 0]
            beside = [each for each in jobs if services.partition_of(each) != 0]
            until(lambda: services.rows_of("job_events", "job_id", beside) == 3 * len(beside))
            assert services.rows_of("job_events", "job_id", behind) == 0
        experiment.assert_calm()
    if poison is None:
        until(lambda: all(count() >= 1 for count in found.values()))
        assert [count() for count in found.values()] == [1] * len(found)
    else:
        until(lambda: services.rows_of("dead_letters", "record_key", [marker]) >= 1)
        assert services.rows_of("dead_letters", "record_key", [marker]) == 1


TRACKER: dict[Case, Literal["ends", "does not need it", "waits"]] = {
    ("<prefix>tracker", "Read"): "ends",
    ("<prefix>jobs.events", "Read"): "ends",
    ("<prefix>jobs.states", "Read"): "does not need it",
    ("<prefix>jobs.states", "Write"): "ends",
    ("<prefix>jobs.commands", "Read"): "waits",
}
"""What a tracker does without a right while it runs."""

SHORT_TRACKER = [("<prefix>jobs.states", "Write")]


@situations
@pytest.mark.parametrize(("row", "operation"), every_right("tracker", short=SHORT_TRACKER))
def test_a_tracker_without_a_right_names_it_and_forgets_no_job(
    services: SecuredServices,
    scenario: Scenario,
    situation: Situation,
    row: Row,
    operation: Operation,
) -> None:
    case = TRACKER[row.name, operation]
    with Experiment(services, row, operation, situation, scenario) as experiment:
        if experiment.ends:
            experiment.assert_ends()
        elif case == "waits":
            experiment.await_noticed()
            services.write(services.topics.events, b"", _event_of_unknown_schema(), partition=0)
            experiment.await_told()
            experiment.assert_calm()
        jobs = services.submit(count=5)
        until(lambda: services.finished(jobs) == set(jobs))
        until(lambda: services.rows_of("job_events", "job_id", jobs) == 3 * len(jobs))
        if case == "ends" and not experiment.ends:
            experiment.assert_ends()
        elif case == "does not need it" and not experiment.ends:
            experiment.assert_calm()


def test_every_right_of_a_service_is_taken_away() -> None:
    assert set(WORKER) == set(cases("worker"))
    assert set(TRACKER) == set(cases("tracker"))
    assert set(POISON) <= set(cases("sink"))
