"""Orders: what a worker does with what it reads on the command topic."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from millstream.consumers.worker import WorkerConfig
from millstream.consumers.worker.coordination.commands import CommandListener
from millstream.consumers.worker.scheduling.quotas import Quota, Quotas
from millstream.schemas import Action, Codec, Command, Scope, TopicCatalogue

CODEC = Codec()


class Obeyed:
    """What an executor is told, done at once."""

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas()
        self.cancelled: list[str] = []

    def change_quotas(self, change: Any) -> None:
        change(self.quotas)

    def cancel(self, job_id: str, reason: str) -> None:
        self.cancelled.append(job_id)

    def forget_cancellation(self, job_id: str) -> None:
        self.cancelled.remove(job_id)


class Listening:
    """A control without a broker that has read everything."""

    def __init__(self) -> None:
        worker: Any = SimpleNamespace(config=WorkerConfig(worker_id="w"), codec=CODEC, topics=TopicCatalogue())
        self.control = CommandListener(worker)
        self.control._caught_up.set()

    def read(self, value: bytes | None, key: bytes = b"tenant:acme:set_quota") -> None:
        message: Any = SimpleNamespace(
            value=lambda: value, key=lambda: key, topic=lambda: "jobs.commands", offset=lambda: 7
        )
        self.control._read(message, is_command=True)

    def obey(self, quotas: Quotas | None = None) -> Obeyed:
        executor: Any = Obeyed(quotas)
        self.control.obey(executor)
        obeyed: Obeyed = executor
        return obeyed


def quota_order(target: str = "acme", **limits: Any) -> bytes:
    """The bytes of an order whose limits nobody has checked."""
    given = Command(action=Action.SET_QUOTA, scope=Scope.TENANT, target=target)
    return CODEC.encode(given.model_copy(update=limits))


@pytest.mark.parametrize(
    "limits",
    [
        {"weight": 0.0},
        {"weight": 101.0},
        {"max_concurrency": -1},
        {"max_per_second": 0.0},
        {"max_per_second": float("nan")},
        {"max_per_second": float("inf")},
    ],
)
def test_an_order_that_cannot_be_obeyed_ends_no_worker_and_hinders_no_other_order(limits: dict[str, Any]) -> None:
    listening = Listening()
    with capture_logs() as logs:
        listening.read(quota_order(**limits))
        listening.read(quota_order("other", max_concurrency=3), b"tenant:other:set_quota")
        executor = listening.obey()
        listening.read(quota_order(**limits))
    assert executor.quotas.quota("tenant", "acme") == Quota()
    assert executor.quotas.quota("tenant", "other") == Quota(max_concurrency=3)
    refused = [each for each in logs if each["log_level"] == "error"]
    assert len(refused) == 2
    assert all("tenant:acme:set_quota" in str(each) for each in refused)


def test_an_order_that_the_executor_refuses_hinders_no_other_order() -> None:
    listening = Listening()
    listening.read(quota_order(max_concurrency=1))
    listening.read(quota_order("other", max_concurrency=3), b"tenant:other:set_quota")

    class Refusing(Quotas):
        def set(self, scope: Any, name: str, quota: Quota) -> None:
            if name == "acme":
                raise ValueError("not this one")
            super().set(scope, name, quota)

    with capture_logs() as logs:
        executor = listening.obey(Refusing())
    assert executor.quotas.quota("tenant", "other") == Quota(max_concurrency=3)
    assert [each["target"] for each in logs if each["log_level"] == "error"] == ["acme"]


def test_an_order_that_was_taken_back_is_undone_now_and_not_obeyed_in_the_next_life() -> None:
    listening = Listening()
    orders = [
        Command(action=Action.SET_QUOTA, scope=Scope.TENANT, target="acme", max_concurrency=1),
        Command(action=Action.PAUSE, scope=Scope.LANE, target="bulk"),
        Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target="j"),
    ]
    for order in orders:
        listening.read(CODEC.encode(order), order.key)
    configured = Quota(max_concurrency=7)
    executor = listening.obey(Quotas({("tenant", "acme"): configured}))
    assert executor.quotas.quota("tenant", "acme") == Quota(max_concurrency=1)
    assert executor.quotas.wait("lane", "bulk", 0) == math.inf
    assert executor.cancelled == ["j"]
    for order in orders:
        listening.read(None, order.key)
    later = listening.obey(Quotas({("tenant", "acme"): configured}))
    for each in (executor, later):
        assert each.quotas.quota("tenant", "acme") == configured
        assert each.quotas.wait("lane", "bulk", 0) == 0
        assert each.cancelled == []


def test_a_quota_ordered_later_replaces_the_earlier_one_as_it_does_after_a_restart() -> None:
    listening = Listening()
    executor = listening.obey()
    listening.read(quota_order(max_concurrency=1))
    listening.read(quota_order(weight=2.0))
    assert executor.quotas.quota("tenant", "acme") == Quota(weight=2)
    assert listening.obey().quotas.quota("tenant", "acme") == Quota(weight=2)


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "weight": 0}, "weight"),
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "max_concurrency": -1}, "max_concurrency"),
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "max_concurrency": 2**31}, "max_concurrency"),
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "max_per_second": 0}, "max_per_second"),
        ({"action": "set_quota", "scope": "tenant", "target": ""}, "target"),
        ({"action": "pause", "scope": "job", "target": "j"}, "pause does not go with scope job"),
        ({"action": "cancel_job", "scope": "tenant", "target": "acme"}, "cancel_job does not go with scope tenant"),
    ],
)
def test_an_order_that_no_worker_could_obey_cannot_be_made(order: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Command.model_validate(order)
