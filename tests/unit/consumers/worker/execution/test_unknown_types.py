"""Jobs whose type has no handler here: how long they wait, and what ends it."""

import math

import pytest
from structlog.testing import capture_logs

from millstream.consumers.worker.execution import unknown_types
from millstream.consumers.worker.execution.unknown_types import UnknownTypes
from tests.unit.consumers.worker.execution.made import execution


def test_each_waits_for_the_grace_and_is_due_then() -> None:
    unknown = UnknownTypes(600, ["known"])
    first, second = execution("new"), execution("new")
    unknown.hold(first, 10.0)
    unknown.hold(second, 20.0)
    assert (len(unknown), unknown.due_at, unknown.by_tenant()) == (2, 610.0, {"acme": 2})
    assert unknown.due(609.9) == []
    assert unknown.due(610.0) == [first]
    assert unknown.due(700.0) == [second]
    assert not unknown and unknown.due_at == math.inf


def test_when_too_many_wait_the_oldest_are_due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_types, "MOST_WAITING", 2)
    unknown = UnknownTypes(600, [])
    waiting = [execution("new") for _ in range(5)]
    for each in waiting:
        unknown.hold(each, 1.0)
    assert unknown.due_at < 1.0
    assert unknown.due(1.0) == waiting[:3]
    assert unknown.due_at == 601.0


def test_those_that_are_removed_are_not_due_any_more() -> None:
    unknown = UnknownTypes(600, [])
    lost, kept = execution("new"), execution("new")
    unknown.hold(lost, 0.0)
    unknown.hold(kept, 0.0)
    lost.assignment.release()
    assert unknown.remove(lambda each: not each.live) == [lost]
    assert unknown.due(600.0) == [kept]


def test_each_type_is_named_once_in_the_log_and_not_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_types, "MOST_WARNED", 3)
    unknown = UnknownTypes(600, ["known"])
    with capture_logs() as logged:
        for number in range(10):
            unknown.hold(execution(f"new{number // 2}"), 0.0)
    assert [line["job_type"] for line in logged] == ["new0", "new1", "new2"]
    assert logged[0]["known"] == ["known"]
