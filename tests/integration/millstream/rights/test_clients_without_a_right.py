"""Each right of a producer and of the commands, taken away: the call or the command that needs it says so, the others
go on, and so does it when the right is back."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from millstream.consumers.sink.sources import BY_TABLE
from millstream.producers import JobClient, NewJob, SubmitError
from millstream.rights.table import Operation, Right, Role, Row, rights
from millstream.schemas import TopicCatalogue
from millstream.schemas.ids import new_id
from millstream.topic_growth import TopicGrowth, plan_growth
from millstream.topics import inspect_topics
from tests.support.databases import TestDatabase
from tests.support.eventlog import TopicReader
from tests.support.installation import Installation
from tests.support.missing_rights import Case, Taken, cases, every_right, of_row
from tests.support.service_log import GIVES_RIGHTS, names
from tests.support.waiting import eventually

REFUSED = (3, 6)
"""Exit codes of a command that Kafka refuses a right."""

WITHIN_S = 30


@pytest.fixture(scope="module")
def database(clickhouse_url: str) -> Iterator[TestDatabase]:
    made = TestDatabase(clickhouse_url)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def priced(installation: Installation, database: TestDatabase, clickhouse_url: str) -> dict[str, str]:
    """Settings of a database with a budget and prices."""
    settings = {"MILLSTREAM_CLICKHOUSE__URL": clickhouse_url, "MILLSTREAM_CLICKHOUSE__DATABASE": database.name}
    (installation.folder / "budgets.yaml").write_text("budgets:\n  - {tenant: acme, monthly_cost: 1}\n", "utf-8")
    book = "instance_type,purchase_option,price_per_hour,vcpus\ndefault,,1,1\nbox,,2,1\n"
    (installation.folder / "prices.csv").write_text(book, "utf-8")
    installation.done("operator", "budgets", "load", "budgets.yaml", **settings)
    installation.done("operator", "prices", "load", "prices.csv", "--replace", **settings)
    return settings


@pytest.fixture
def tables(priced: dict[str, str], database: TestDatabase) -> dict[str, str]:
    """Settings of a database in which a tenant has spent its budget. Each test spends it, because others empty tables
    of the database."""
    database.client().command(
        "INSERT INTO job_attempts (job_id, attempt, tenant, job_type, lane, outcome, final, submitted_at, finished_at, "
        "run_ms, total_ms, instance_type) SELECT generateUUIDv4(), 1, 'acme', 't.add', 'default', 'succeeded', true, "
        "now(), now(), 3600000000, 1, 'box'"
    )
    return priced


def _refused(call: Callable[[], object], right: Right) -> None:
    with pytest.raises(SubmitError) as refused:
        call()
    assert names(str(refused.value), "producer", right) and GIVES_RIGHTS in str(refused.value)


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "new"])
@pytest.mark.parametrize(
    ("row", "operation"),
    every_right("producer", short=[("<prefix>jobs.events", "Write"), ("<prefix>jobs.<lane>", "Write")]),
)
def test_a_producer_without_a_right_is_told_and_does_all_else(
    installation: Installation, caplog: pytest.LogCaptureFixture, row: Row, operation: Operation, connected: bool
) -> None:
    right, broker = of_row(installation, row, operation)[0], installation.broker
    accepted: list[str] = []
    with JobClient(broker.connection("producer").quiet, installation.topics) as jobs:

        def submit(lane: str) -> None:
            accepted.append(jobs.submit("t.add", lane=lane))

        def atomic(lane: str) -> None:
            accepted.extend(jobs.submit_many([NewJob("t.add", lane=lane)], atomic=True))

        if connected:
            submit("high")
            atomic("high")
        with Taken(installation, "producer", [right]):
            if row.kind == "transactional-id":
                _refused(lambda: atomic("high"), right)
                submit("high")
            elif "<lane>" in row.name:
                _refused(lambda: submit("high"), right)
                _refused(lambda: atomic("high"), right)
                atomic("default")
            else:

                def warning() -> str:
                    submit("high")
                    return caplog.text

                # A client finds out every few seconds whether its events are accepted.
                eventually(warning, lambda text: names(text, "producer", right), WITHIN_S)
                _refused(lambda: atomic("high"), right)
            submit("default")
        eventually(lambda: _succeeds(lambda: atomic("high")), bool, WITHIN_S)
        eventually(lambda: _succeeds(lambda: submit("high")), bool, WITHIN_S)
    assert sorted(_jobs_of_lanes(installation)) == sorted(set(_jobs_of_lanes(installation)))
    assert set(accepted) <= set(_jobs_of_lanes(installation))


def _succeeds(call: Callable[[], None]) -> bool:
    try:
        call()
    except SubmitError:
        return False
    return True


def _jobs_of_lanes(installation: Installation) -> list[str]:
    """The keys of the records on all lanes: the ids of jobs."""
    found: list[str] = []
    for lane in installation.topics.lanes:
        reader = TopicReader(installation.broker.unrestricted.bootstrap, installation.topics.lane(lane))
        reader.read(1.0)
        found += [(key or b"").decode() for key in reader.keys]
        reader.close()
    return found


# Commands

COMMANDING: tuple[Role, ...] = ("operator", "topics")
JOB_ID = new_id()
MORE_PARTITIONS = "4"
Command = tuple[str, ...]


@dataclass(frozen=True)
class Without:
    """What a right gives. `refused`: commands that need it. `others`: commands that do not, of the same role.
    `prepare` makes a difference that the refused command is to correct; `settings`: of the refused ones; `finish`
    does in their place what would take them long when the right is back."""

    refused: tuple[Command, ...]
    others: tuple[Command, ...] = ()
    prepare: Callable[[Installation], None] = lambda installation: None
    settings: tuple[tuple[str, str], ...] = ()
    finish: Callable[[Installation], None] | None = None


LIST: Command = ("topics", "list")
APPLY: Command = ("topics", "apply")
GROW: Command = ("topics", "apply", "--grow")


def _rewind(table: str) -> Command:
    return ("sink", "rewind", "--table", table, "--yes")


def _delete_a_topic(installation: Installation) -> None:
    admin = AdminClient(installation.broker.unrestricted.client())
    admin.delete_topics([installation.topics.alerts])[installation.topics.alerts].result(30)
    eventually(
        lambda: installation.topics.alerts in admin.list_topics(timeout=10).topics, lambda known: not known, WITHIN_S
    )


def _change_a_setting(installation: Installation) -> None:
    entry = ConfigEntry("retention.ms", "1000000", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, installation.topics.alerts, incremental_configs=[entry])
    admin = AdminClient(installation.broker.unrestricted.client())
    admin.incremental_alter_configs([topic])[topic].result(30)


def _grow(installation: Installation) -> None:
    """As the command, without the time that it gives producers to learn of the new partitions."""
    catalogue = TopicCatalogue(installation.topics.prefix, installation.topics.lanes, partitions=int(MORE_PARTITIONS))
    connection = installation.broker.connection("topics")
    found = {each.topic.name: each.partitions for each in inspect_topics(connection, catalogue)}
    TopicGrowth(connection, catalogue, settle_s=0).grow(plan_growth(found, catalogue))
    assert not any(each.must_grow for each in inspect_topics(connection, catalogue))


COMMANDS: dict[tuple[str, *Case], Without] = {
    ("operator", "<prefix>jobs.commands", "Read"): Without(
        (("commands", "list"), ("commands", "revoke", "pause", "tenant", "x")),
        (("commands", "pause", "tenant", "x"),),
    ),
    ("operator", "<prefix>jobs.commands", "Write"): Without(
        (("commands", "pause", "tenant", "y"), ("job", "cancel", JOB_ID, "--force")), (("commands", "list"),)
    ),
    ("operator", "<prefix>jobs.events", "Read"): Without((_rewind("job_events"),), (_rewind("alerts"),)),
    ("operator", "<prefix>jobs.heartbeats", "Read"): Without((_rewind("worker_heartbeats"),), (_rewind("alerts"),)),
    ("operator", "<prefix>jobs.alerts", "Read"): Without((_rewind("alerts"),), (_rewind("changes"),)),
    ("operator", "<prefix>jobs.dead", "Read"): Without((_rewind("dead_letters"),), (_rewind("alerts"),)),
    ("operator", "<prefix>jobs.changes", "Read"): Without((_rewind("changes"),), (_rewind("alerts"),)),
    ("operator", "<prefix>jobs.alerts", "Write"): Without(
        (("budgets", "check", "--send"),), (("budgets", "check"), _rewind("alerts"))
    ),
    ("operator", "<sink.group>", "Read"): Without(tuple(map(_rewind, BY_TABLE)), (("commands", "list"),)),
    ("topics", "<prefix>jobs.", "Describe"): Without((LIST, APPLY)),
    ("topics", "<prefix>jobs.", "DescribeConfigs"): Without((LIST, APPLY)),
    ("topics", "<prefix>jobs.", "Create"): Without((APPLY,), (LIST,), _delete_a_topic),
    ("topics", "<prefix>jobs.", "AlterConfigs"): Without((APPLY,), (LIST,), _change_a_setting),
    ("topics", "<prefix>jobs.commands", "Write"): Without((APPLY,), (LIST,)),
    ("topics", "<prefix>jobs.commands", "Read"): Without((GROW,), (LIST, APPLY)),
    ("topics", "<prefix>jobs.", "Alter"): Without(
        (GROW,), (LIST, APPLY), settings=(("MILLSTREAM_TOPICS__PARTITIONS", MORE_PARTITIONS),), finish=_grow
    ),
}
DIFFERENCE_FOUND = 1
"""Exit code of `budgets check` when a budget is spent."""

IMPLIED_BY = {"Describe": ("Read", "Write", "Alter"), "DescribeConfigs": ("AlterConfigs",)}
"""Operations that include another one: whoever lacks that has none of them."""

SHORT_COMMANDS = [("<prefix>jobs.commands", "Read"), ("<prefix>jobs.", "AlterConfigs")]


def _without(installation: Installation, row: Row, operation: Operation) -> tuple[Right, Taken]:
    (right,) = of_row(installation, row, operation)
    including = [
        each
        for each in rights([row.role], installation.names)
        if each.name == right.name and each.row.kind == row.kind and each.operation in IMPLIED_BY.get(operation, ())
    ]
    return right, Taken(installation, row.role, [right, *including])


@pytest.mark.parametrize(("row", "operation"), every_right(*COMMANDING, short=SHORT_COMMANDS))
def test_a_command_without_a_right_names_it_and_the_others_do_their_work(
    installation: Installation, tables: dict[str, str], row: Row, operation: Operation
) -> None:
    case = COMMANDS[row.role, row.name, operation]

    def run(command: Command) -> tuple[int, str]:
        found = installation.run(row.role, *command, **tables, **(dict(case.settings) if command == GROW else {}))
        return found.returncode, " ".join(found.stderr.split())

    done = {("budgets", "check"): DIFFERENCE_FOUND, ("budgets", "check", "--send"): DIFFERENCE_FOUND}
    case.prepare(installation)
    right, taken = _without(installation, row, operation)
    with taken:
        for command in case.refused:
            code, told = run(command)
            assert code in REFUSED and names(told, row.role, right) and GIVES_RIGHTS in told, (command, code, told)
            assert "Traceback" not in told
        for command in case.others:
            code, told = run(command)
            assert code == done.get(command, 0), (command, told)
    if case.finish is not None:
        case.finish(installation)
        return
    for command in case.refused:
        code, told = run(command)
        assert code == done.get(command, 0), (command, told)


DOCTOR: dict[Case, set[str]] = {
    ("<prefix>jobs.", "Describe"): {"topics", "lanes", "sink lag", "tracker lag"},
    ("<prefix>jobs.", "DescribeConfigs"): {"topics"},
    ("<prefix>jobs.commands", "Read"): {"partitions", "commands"},
    ("<prefix>jobs.heartbeats", "Read"): {"workers"},
    ("<worker.group>.", "Describe"): {"lanes"},
    ("<sink.group>", "Describe"): {"sink lag"},
    ("<prefix>tracker", "Describe"): {"tracker lag"},
    ("kafka-cluster", "DescribeConfigs"): {"broker settings"},
}
"""The checks of `doctor` that need a right."""

OF_KAFKA = {
    "kafka",
    "topics",
    "partitions",
    "broker settings",
    "workers",
    "commands",
    "lanes",
    "sink lag",
    "tracker lag",
}


@pytest.fixture(scope="module")
def results(installation: Installation, priced: dict[str, str]) -> dict[str, str]:
    """What `doctor` finds with all its rights."""
    found = _doctor(installation, priced)
    assert not [each for each in found.values() if "right" in each["detail"]]
    return {check: each["status"] for check, each in found.items()}


def _doctor(installation: Installation, settings: dict[str, str]) -> dict[str, dict[str, str]]:
    found = json.loads(installation.run("doctor", "doctor", "--json", **settings).stdout)
    return {each["check"]: each for each in found if each["check"] in OF_KAFKA}


@pytest.mark.parametrize(("row", "operation"), every_right("doctor", short=[("kafka-cluster", "DescribeConfigs")]))
def test_doctor_without_a_right_warns_of_what_it_cannot_check_and_checks_all_else(
    installation: Installation, priced: dict[str, str], results: dict[str, str], row: Row, operation: Operation
) -> None:
    blind = DOCTOR[row.name, operation]
    right, taken = _without(installation, row, operation)
    with taken:
        found = _doctor(installation, priced)
    for check in blind:
        each = found.pop(check)
        assert each["status"] == "warning" and names(each["detail"], "doctor", right), each
    assert {check: each["status"] for check, each in found.items()} == {
        check: status for check, status in results.items() if check not in blind
    }


def test_every_right_of_a_command_is_taken_away() -> None:
    assert set(COMMANDS) == {(role, *case) for role in COMMANDING for case in cases(role)}
    assert set(DOCTOR) == set(cases("doctor"))
