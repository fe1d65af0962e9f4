"""Which tests run side by side under pytest-xdist, and in which order.

A file runs in one process, and so do all files on the cluster of three nodes, which is started once. A process that has
finished its file goes on with the next: first the files that take longest, then the others on brokers and ClickHouse,
then the unit tests, whose short files fill what is left of each process. Each process starts its own brokers, once.

The group follows from the path alone, because the process that distributes the tests knows nothing else of them.
"""

import os

import pytest

CLUSTER = "kafka_cluster"
ON_CLUSTER = (
    "tests/faults/test_worker_faults.py",
    "tests/integration/millstream/local/test_brokers.py",
    "tests/integration/millstream/test_topics.py",
)
LONGEST_FIRST = (
    CLUSTER,
    "tests/integration/streams/test_tracker.py",
    "tests/faults/",
    "tests/integration/consumers/worker/",
    "tests/e2e/test_demo.py",
    "tests/e2e/",
    "tests/integration/consumers/",
    "tests/integration/",
)


def group(nodeid: str) -> str:
    """The group of a test: that of the cluster, else its file."""
    return CLUSTER if nodeid.startswith(ON_CLUSTER) else nodeid.partition("::")[0]


def on_cluster(item: pytest.Item) -> bool:
    """Whether it is in the group of the cluster."""
    return group(item.nodeid) == CLUSTER


def arrange(items: list[pytest.Item]) -> None:
    """In a process of xdist, sort the tests by when they must start. Raises `UsageError` for a test on the cluster
    whose path does not say so: it would start a second one."""
    for item in items:
        if CLUSTER in getattr(item, "fixturenames", ()) and not on_cluster(item):
            raise pytest.UsageError(f"{item.nodeid} uses the cluster: add its path to tests/support/groups.py")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(group(item.nodeid)))
    else:
        # The cluster is stopped after its last test.
        items.sort(key=on_cluster, reverse=True)


def scheduler(config: pytest.Config, log: object) -> object:
    """Distributes groups: a process that has finished its group is given the next one."""
    from xdist.scheduler import LoadScopeScheduling

    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling


def _rank(name: str) -> int:
    return next((rank for rank, start in enumerate(LONGEST_FIRST) if name.startswith(start)), len(LONGEST_FIRST))
