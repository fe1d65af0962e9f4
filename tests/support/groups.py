"""Which tests run side by side under pytest-xdist (`--dist loadgroup`), and in which order.

A group runs in one process. All tests on the shared brokers are one group: they mostly wait for Kafka, and two brokers
on two cores would delay each other until timeouts expire. Meanwhile the other process runs all the rest file by file:
first the files that start a broker of their own and take longest, then those on ClickHouse, then the unit tests, whose
short files fill what is left of either process.
"""

import os

import pytest

SHARED_BROKERS = {"kafka", "kafka_cluster", "stock_kafka", "tansu", "any_broker"}
SHARED_GROUP = "brokers"


def arrange(items: list[pytest.Item]) -> None:
    """Mark every test with its group and, in a process of xdist, sort the tests by when they must start."""
    groups = {item.nodeid: _group(item) for item in items}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.nodeid]))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(groups[item.nodeid]))


def _group(item: pytest.Item) -> str:
    shared = SHARED_BROKERS & set(getattr(item, "fixturenames", ()))
    return SHARED_GROUP if shared else item.nodeid.partition("::")[0]


def _rank(group: str) -> int:
    first = [SHARED_GROUP, "tests/e2e/", "tests/integration/"]
    return next((rank for rank, start in enumerate(first) if group.startswith(start)), len(first))
