"""Which tests run side by side under pytest-xdist, and in which order.

A group runs in one process. The tests on the shared brokers are two groups of about the same length, one for each
process, because each group starts brokers of its own. The process that has finished its group goes on with the rest,
file by file: first the files that start a stack of their own and take longest, then those on ClickHouse, then the unit
tests, whose short files fill what is left of either process.

The group follows from the path alone, because the process that distributes the tests knows nothing else of them.
"""

import os

import pytest

SHARED_BROKERS = {"kafka", "kafka_cluster", "stock_kafka", "tansu", "any_broker"}
ON_SHARED_BROKERS = {
    "workers": (
        "tests/e2e/test_handler_project.py",
        "tests/faults/test_deploys.py",
        "tests/faults/test_mirrored_failover.py",
        "tests/faults/test_two_releases.py",
        "tests/faults/test_worker_faults.py",
        "tests/integration/consumers/worker/",
        "tests/integration/millstream/cli/test_cost_commands.py",
        "tests/integration/millstream/demo/",
        "tests/integration/millstream/local/test_brokers.py",
        "tests/integration/producers/",
        "tests/integration/schemas/",
    ),
    "sink and streams": (
        "tests/faults/test_sink_crashes.py",
        "tests/integration/consumers/kafka/",
        "tests/integration/consumers/sink/",
        "tests/integration/contracts/",
        "tests/integration/millstream/cli/test_tables_commands.py",
        "tests/integration/millstream/test_topics.py",
        "tests/integration/streams/",
    ),
}


def group(nodeid: str) -> str:
    """The group of a test: one of those on the shared brokers, else its file."""
    own = (name for name, paths in ON_SHARED_BROKERS.items() if nodeid.startswith(paths))
    return next(own, nodeid.partition("::")[0])


def arrange(items: list[pytest.Item]) -> None:
    """In a process of xdist, sort the tests by when they must start. Raises `UsageError` for a test on a shared broker
    whose path does not say so: it would start a second broker."""
    for item in items:
        if SHARED_BROKERS & set(getattr(item, "fixturenames", ())) and group(item.nodeid) not in ON_SHARED_BROKERS:
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
    first = [*ON_SHARED_BROKERS, "tests/e2e/", "tests/integration/"]
    return next((rank for rank, start in enumerate(first) if name.startswith(start)), len(first))
