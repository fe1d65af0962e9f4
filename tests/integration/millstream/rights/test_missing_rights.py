"""Each right of the table, taken away in turn: one error names it, and costs nothing but what it covers."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from millstream.consumers.sink.sources import BY_TABLE
from millstream.local.process import ChildProcess
from millstream.producers import JobClient, NewJob, SubmitError
from millstream.rights.check import missing_rights, told, vital
from millstream.rights.table import Right, rights
from millstream.schemas import OUTCOMES, Codec, JobEvent
from tests.integration.millstream.rights.conftest import ROLES, Installation
from tests.support.rights_table import as_given
from tests.support.scenarios import SOAK
from tests.support.secured_broker import SecuredBroker
from tests.support.waiting import eventually, until

TOLD_WITHIN_S = 10.0


class Taken:
    """A right that a user lacks from entering to leaving."""

    def __init__(self, broker: SecuredBroker, user: str, right: Right) -> None:
        self._broker, self._user = broker, user
        self._given = as_given(right.row, right.name, right.operation)

    def __enter__(self) -> None:
        self._broker.take(self._user, [self._given])

    def __exit__(self, *_: object) -> None:
        self._broker.allow(self._user, [self._given])


def groups_of(installation: Installation) -> list[str]:
    names = installation.names
    return [
        *(f"{names.worker_group}.{lane}" for lane in (*names.lanes, "overflow")),
        *(source.group(names.sink_group) for source in BY_TABLE.values()),
    ]


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_lacks_is_found_out_right_by_right(installation: Installation, role: str) -> None:
    broker, names = installation.broker, installation.names
    wanted = [each for each in rights([role], names) if each.row.kind in ("topic", "group")]  # type: ignore[list-item]
    topics = [each.name for each in installation.topics]
    connection = broker.connection(role)

    def lacking() -> list[str]:
        found = missing_rights(connection, wanted, groups_of(installation), topics)
        return [told(role, each) for each in found]

    eventually(lacking, lambda found: found == [], within_s=30)
    for right in wanted:
        configured = right.operation == "DescribeConfigs" and role == "topics"
        implied = (
            right.operation == "Describe"
            or configured
            or any(
                each is not right
                and each.operation == right.operation
                and each.row.kind == right.row.kind
                and each.row.pattern != right.row.pattern
                for each in wanted
            )
        )
        if implied:
            # Another right of the role includes it, as AlterConfigs does DescribeConfigs.
            continue
        with Taken(broker, role, right):
            assert told(role, right) in eventually(lacking, lambda found: found != [], within_s=TOLD_WITHIN_S)
    eventually(lacking, lambda found: found == [], within_s=30)


def vital_rights(role: str, installation: Installation) -> list[Right]:
    wanted = rights([role], installation.names)  # type: ignore[list-item]
    return [each for each in wanted if each.row.kind != "transactional-id" and vital([each], wanted)]


@pytest.mark.parametrize(
    ("role", "command"), [("worker", ("worker", "handlers")), ("tracker", ("tracker",)), ("sink", ("sink",))]
)
def test_a_service_that_can_do_nothing_ends_and_names_all_that_it_lacks(
    installation: Installation, role: str, command: tuple[str, ...]
) -> None:
    lacks = vital_rights(role, installation)
    given = [as_given(each.row, each.name, each.operation) for each in lacks]
    installation.broker.take(role, given)
    try:
        found = installation.run(role, *command)
    finally:
        installation.broker.allow(role, given)
    assert found.returncode == 6
    text = " ".join(found.stderr.split())
    for each in lacks:
        assert told(role, each) in text
    assert "docs/security.md" in text and "Traceback" not in text


def test_the_right_to_a_transactional_id_is_named(installation: Installation) -> None:
    (right,) = (each for each in rights(["worker"], installation.names) if each.row.kind == "transactional-id")
    with Taken(installation.broker, "worker", right):
        found = installation.run("worker", "worker", "handlers", "--name", "nameless")
    assert found.returncode == 6
    text = " ".join(found.stderr.split())
    assert f"user 'worker' has no right to Write transactional-id {installation.topics.prefix}worker-nameless" in text


class Lines:
    """What a service writes."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def alarms(self, since: int) -> list[str]:
        """Those since then that are warnings or worse."""
        return [line for line in self.all[since:] if '"level": "info"' not in line]

    def tell_of_a_right(self, resource: str, since: int) -> Callable[[], bool]:
        """Whether one since then names a resource and what gives the right to it."""
        return lambda: any(resource in line and "millstream acls" in line for line in self.alarms(since))

    def names(self, text: str, since: int) -> Callable[[], bool]:
        """Whether a line since then has this text."""
        return lambda: any(text in line for line in self.all[since:])


@pytest.fixture(scope="module")
def worker(installation: Installation) -> Iterator[tuple[ChildProcess, Lines]]:
    """A worker that runs while rights are taken from it."""
    lines = Lines()
    with installation.service("worker", "worker", "handlers", "--name", "w", on_line=lines.all.append) as process:
        until(lines.names("worker_ready", 0), within_s=60)
        yield process, lines


LIVE = [
    ("<prefix>jobs.<lane>", "Read"),
    ("<prefix>jobs.dead", "Write"),
    ("<prefix>jobs.events", "Write"),
    ("<prefix>jobs.heartbeats", "Write"),
]
LIVE_FULL = [
    ("<prefix>jobs.<lane>.overflow", "Read"),
    ("<prefix>jobs.<lane>", "Write"),
    ("<prefix>jobs.commands", "Read"),
    ("<prefix>jobs.heartbeats", "Read"),
    ("<worker.group>.", "Read"),
]


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        *(pytest.param(*each, id=" ".join(each)) for each in LIVE),
        *(pytest.param(*each, id=" ".join(each), marks=SOAK) for each in LIVE_FULL),
    ],
)
def test_a_running_worker_names_the_right_and_goes_on_with_the_rest(
    installation: Installation, worker: tuple[ChildProcess, Lines], name: str, operation: str
) -> None:
    process, lines = worker
    broker, topics = installation.broker, installation.topics
    right = next(
        each for each in rights(["worker"], installation.names) if each.row.name == name and each.operation == operation
    )
    finished = finished_jobs(installation)
    with JobClient(broker.unrestricted, topics) as jobs:
        since = len(lines.all)
        with Taken(broker, "worker", right):
            ids = jobs.submit_many(
                [
                    NewJob("t.fail" if operation == "Write" else "t.add", lane=lane, max_attempts=attempts)
                    for lane in topics.lanes
                    for attempts in (1, 2)
                ]
            )
            others = jobs.submit_many([NewJob("t.add", lane="default") for _ in range(3)])
            resource = right.name if right.row.kind == "topic" else right.name.rstrip(".")
            until(lines.tell_of_a_right(resource, since), within_s=TOLD_WITHIN_S)
            stops_all = name == "<worker.group>." or (name == "<prefix>jobs.events" and operation == "Write")
            if not stops_all:
                # The right of the lane `high` was taken; the other lane goes on.
                until(lambda: set(others) <= finished(), within_s=30)
            # Neither log nor transactions spin.
            assert len(lines.alarms(since)) < 40
        until(lambda: {*ids, *others} <= finished(), within_s=90)
    assert process.is_alive(), process.tail


def finished_jobs(installation: Installation) -> Callable[[], set[str]]:
    """The jobs with a final outcome, as of the events so far."""
    events, codec, found = installation.topics.events, Codec(), set[str]()
    consumer = Consumer(installation.broker.unrestricted.consumer("finished"))
    consumer.assign([TopicPartition(events, number, OFFSET_BEGINNING) for number in range(2)])

    def read() -> set[str]:
        for message in consumer.consume(1000, 0.1):
            if message.error() is None:
                event = codec.decode(message.value(), JobEvent)
                if event.final and event.kind in OUTCOMES:
                    found.add(event.job_id)
        return found

    return read


def test_a_worker_that_cannot_write_outcomes_ends_at_once_on_sigterm(installation: Installation) -> None:
    lines = Lines()
    right = next(
        each
        for each in rights(["worker"], installation.names)
        if each.row.name == "<prefix>jobs.events" and each.operation == "Write"
    )
    process = installation.service(
        "worker",
        "worker",
        "handlers",
        "--name",
        "other",
        on_line=lines.all.append,
        MILLSTREAM_WORKER__DRAIN_GRACE_S="60",
    )
    with process:
        until(lines.names("worker_ready", 0), within_s=60)
        with Taken(installation.broker, "worker", right):
            with JobClient(installation.broker.unrestricted, installation.topics) as jobs:
                jobs.submit_many([NewJob("t.add", lane=lane) for lane in installation.topics.lanes for _ in range(20)])
            until(lines.names("topic_unwritable", 0), within_s=30)
            began = time.monotonic()
            process.stop(60)
    # Its grace period is 60 s.
    assert time.monotonic() - began < 20, process.tail


def test_a_sink_that_may_not_read_one_topic_fills_the_other_tables(
    installation: Installation, clickhouse_url: str, own_clickhouse: Client
) -> None:
    lines = Lines()
    tables = {
        "MILLSTREAM_CLICKHOUSE__URL": clickhouse_url,
        "MILLSTREAM_CLICKHOUSE__DATABASE": str(own_clickhouse.database),
    }
    topic = installation.topics.heartbeats
    right = next(each for each in rights(["sink"], installation.names) if each.name == topic)
    started = "SELECT count() FROM job_events WHERE kind = 'submitted'"
    with installation.service("sink", "sink", on_line=lines.all.append, **tables) as sink:
        until(lambda: sum("partitions_assigned" in line for line in lines.all) >= len(BY_TABLE), within_s=60)
        with Taken(installation.broker, "sink", right):
            until(lines.tell_of_a_right(topic, 0), within_s=TOLD_WITHIN_S)
            before = own_clickhouse.query(started).result_rows[0][0]
            with JobClient(installation.broker.unrestricted, installation.topics) as jobs:
                jobs.submit("t.add")
            until(lambda: own_clickhouse.query(started).result_rows[0][0] > before, within_s=30)
        until(lines.names("right_back", 0), within_s=30)
        assert sink.stop(30) == 0, sink.tail


def test_a_tracker_that_may_not_write_states_ends_and_names_the_right(installation: Installation) -> None:
    lines = Lines()
    right = next(each for each in rights(["tracker"], installation.names) if each.operation == "Write")
    with installation.service("tracker", "tracker", on_line=lines.all.append) as tracker:
        until(lambda: _healthy(installation), within_s=90)
        with Taken(installation.broker, "tracker", right):
            with JobClient(installation.broker.unrestricted, installation.topics) as jobs:
                jobs.submit("t.add")
            until(lines.tell_of_a_right(installation.topics.states, 0), within_s=TOLD_WITHIN_S)
            assert tracker.wait(20) == 6, tracker.tail


def _healthy(installation: Installation) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{installation.tracker_port}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_producer_that_may_not_write_events_is_told_and_its_jobs_are_accepted(installation: Installation) -> None:
    right = next(each for each in rights(["producer"], installation.names) if each.row.name == "<prefix>jobs.events")
    with Taken(installation.broker, "producer", right):
        found = installation.run("producer", "submit", "t.add")
        assert found.returncode == 0, found.stderr
        assert f"no right to Write topic {installation.topics.events}" in " ".join(found.stderr.split())
        with (
            JobClient(installation.broker.connection("producer").quiet, installation.topics) as jobs,
            pytest.raises(SubmitError, match="no right to Write topic"),
        ):
            jobs.submit_many([NewJob("t.add")], atomic=True)


def test_a_producer_that_is_refused_its_lane_is_told_at_once_and_goes_on_when_it_is_not(
    installation: Installation,
) -> None:
    given = [as_given(each.row, each.name, each.operation) for each in rights(["producer"], installation.names)]
    lane = installation.topics.lane("default")
    with JobClient(installation.broker.connection("producer").quiet, installation.topics) as jobs:
        installation.broker.take("producer", given)
        try:
            with pytest.raises(SubmitError, match=f"user 'producer' has no right to Write topic {lane}"):
                jobs.submit("t.add")
        finally:
            installation.broker.allow("producer", given)
        eventually(lambda: accepted(jobs), bool, within_s=30)


def accepted(jobs: JobClient) -> bool:
    try:
        return bool(jobs.submit("t.add"))
    except SubmitError:
        return False


@pytest.mark.parametrize(
    ("user", "command", "resource"),
    [
        ("producer", ("commands", "list"), "Read topic {0}jobs.commands"),
        ("sink", ("commands", "pause", "tenant", "x"), "Write topic {0}jobs.commands"),
        ("producer", ("topics", "list"), "DescribeConfigs topic {0}jobs."),
    ],
)
def test_a_command_names_the_right_that_it_needs(
    installation: Installation, user: str, command: tuple[str, ...], resource: str
) -> None:
    found = installation.run(user, *command)
    assert found.returncode in (3, 6)
    assert f"user '{user}' has no right to {resource.format(installation.topics.prefix)}" in " ".join(
        found.stderr.split()
    )
