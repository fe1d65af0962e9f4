"""What the brokers say of the rights of a user, and services that lack several or are stopped without one."""

import time

import pytest

from millstream.consumers.sink.sources import BY_TABLE
from millstream.producers import JobClient, NewJob
from millstream.rights.check import missing_rights, told, vital
from millstream.rights.table import Right, rights
from tests.support.installation import ROLES, Installation
from tests.support.missing_rights import Taken
from tests.support.service_log import ServiceLog
from tests.support.waiting import eventually, until

TOLD_WITHIN_S = 10.0


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
        with Taken(installation, role, [right]):
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
    with Taken(installation, role, lacks):
        found = installation.run(role, *command)
    assert found.returncode == 6
    text = " ".join(found.stderr.split())
    for each in lacks:
        assert told(role, each) in text
    assert "docs/security.md" in text and "Traceback" not in text


def test_a_worker_that_cannot_write_outcomes_ends_at_once_on_sigterm(installation: Installation) -> None:
    log = ServiceLog()
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
        on_line=log.add,
        MILLSTREAM_WORKER__DRAIN_GRACE_S="60",
    )
    with process:
        until(lambda: log.contains("worker_ready", 0))
        with Taken(installation, "worker", [right]):
            with JobClient(installation.broker.unrestricted, installation.topics) as jobs:
                jobs.submit_many([NewJob("t.add", lane=lane) for lane in installation.topics.lanes for _ in range(20)])
            until(lambda: log.contains("topic_unwritable", 0))
            began = time.monotonic()
            process.stop(60)
    # Its grace period is 60 s.
    assert time.monotonic() - began < 20, process.tail
