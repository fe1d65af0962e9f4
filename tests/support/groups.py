"""Which tests run side by side under pytest-xdist, and in which order.

A group runs in one process. All tests on the shared brokers are one group: they mostly wait for Kafka, and two brokers
on two cores would delay each other until timeouts expire. Meanwhile the other process runs all the rest file by file:
first the files that start a stack of their own and take longest, then those on ClickHouse, then the unit tests, whose
short files fill what is left of either process.

The group follows from the path alone, because the process that distributes the tests knows nothing else of them.
"""

import os

import pytest

SHARED_BROKERS = {"kafka", "kafka_cluster", "stock_kafka", "tansu", "any_broker"}
ON_SHARED_BROKERS = (
    "tests/e2e/test_handler_project.py",
    "tests/faults/",
    "tests/integration/consumers/",
    "tests/integration/contracts/",
    "tests/integration/millstream/demo/",
    "tests/integration/millstream/local/test_brokers.py",
    "tests/integration/millstream/cli/test_cost_commands.py",
    "tests/integration/producers/",
    "tests/integration/schemas/",
    "tests/integration/streams/",
)
GROUP = "shared brokers"


def group(nodeid: str) -> str:
    """The group of a test: its file, or the one of all tests on the shared brokers."""
    return GROUP if nodeid.startswith(ON_SHARED_BROKERS) else nodeid.partition("::")[0]


def arrange(items: list[pytest.Item]) -> None:
    """In a process of xdist, sort the tests by when they must start. Raises `UsageError` for a test on a shared broker
    whose path does not say so: it would start a second broker."""
    for item in items:
        if SHARED_BROKERS & set(getattr(item, "fixturenames", ())) and group(item.nodeid) != GROUP:
            raise pytest.UsageError(f"{item.nodeid} uses a shared broker: add its path to tests/support/groups.py")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(group(item.nodeid)))


def scheduler(config: pytest.Config, log: object) -> object:
    """Distributes groups: a process that has finished its group is given the next one."""
    from xdist.scheduler import LoadScopeScheduling

    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling


def _rank(name: str) -> int:
    first = [GROUP, "tests/e2e/", "tests/integration/"]
    return next((rank for rank, start in enumerate(first) if name.startswith(start)), len(first))
