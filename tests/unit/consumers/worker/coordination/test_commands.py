"""Commands: what a worker applies of what it reads on the command topic."""

import math
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.scheduling.quotas import Quota, Quotas
from millstream.schemas import Action, Codec, Command, DecodeError, Scope

CODEC = Codec()


class ScriptedExecutor:
    """Applies at once what an executor applies on its event loop."""

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas()
        self.cancelled: list[str] = []

    def change_quotas(self, change: Any) -> None:
        change(self.quotas)

    def cancel(self, job_id: str, reason: str) -> None:
        self.cancelled.append(job_id)

    def revoke_cancellation(self, job_id: str) -> None:
        self.cancelled.remove(job_id)


class CaughtUp:
    """Active commands of a topic that has been read to its end."""

    def __init__(self) -> None:
        self.commands = ActiveCommands(CODEC)
        self.commands.caught_up.set()

    def read(self, value: bytes | None, key: bytes = b"tenant:acme:set_quota") -> None:
        self.commands.receive(key, value)

    def apply(self, quotas: Quotas | None = None) -> ScriptedExecutor:
        executor: Any = ScriptedExecutor(quotas)
        self.commands.apply_to(executor)
        applied: ScriptedExecutor = executor
        return applied


def quota_command(target: str = "acme", **limits: Any) -> bytes:
    """The bytes of a command whose limits are not validated."""
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
def test_a_command_that_cannot_be_applied_ends_no_worker_and_blocks_no_other_command(limits: dict[str, Any]) -> None:
    caught_up = CaughtUp()
    with pytest.raises(DecodeError):
        caught_up.read(quota_command(**limits))
    caught_up.read(quota_command("other", max_concurrency=3), b"tenant:other:set_quota")
    executor = caught_up.apply()
    with pytest.raises(DecodeError):
        caught_up.read(quota_command(**limits))
    assert executor.quotas.quota("tenant", "acme") == Quota()
    assert executor.quotas.quota("tenant", "other") == Quota(max_concurrency=3)


def test_a_command_that_the_executor_rejects_blocks_no_other_command() -> None:
    caught_up = CaughtUp()
    caught_up.read(quota_command(max_concurrency=1))
    caught_up.read(quota_command("other", max_concurrency=3), b"tenant:other:set_quota")

    class Rejecting(Quotas):
        def set(self, scope: Any, name: str, quota: Quota) -> None:
            if name == "acme":
                raise ValueError("not this one")
            super().set(scope, name, quota)

    with capture_logs() as logs:
        executor = caught_up.apply(Rejecting())
    assert executor.quotas.quota("tenant", "other") == Quota(max_concurrency=3)
    assert [each["target"] for each in logs if each["log_level"] == "error"] == ["acme"]


def test_a_revoked_command_is_undone_now_and_not_applied_in_the_next_session() -> None:
    caught_up = CaughtUp()
    sent = [
        Command(action=Action.SET_QUOTA, scope=Scope.TENANT, target="acme", max_concurrency=1),
        Command(action=Action.PAUSE, scope=Scope.LANE, target="bulk"),
        Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target="j"),
    ]
    for command in sent:
        caught_up.read(CODEC.encode(command), command.key)
    configured = Quota(max_concurrency=7)
    executor = caught_up.apply(Quotas({("tenant", "acme"): configured}))
    assert executor.quotas.quota("tenant", "acme") == Quota(max_concurrency=1)
    assert executor.quotas.wait("lane", "bulk", 0) == math.inf
    assert executor.cancelled == ["j"]
    for command in sent:
        caught_up.read(None, command.key)
    later = caught_up.apply(Quotas({("tenant", "acme"): configured}))
    for each in (executor, later):
        assert each.quotas.quota("tenant", "acme") == configured
        assert each.quotas.wait("lane", "bulk", 0) == 0
        assert each.cancelled == []


def test_a_quota_sent_later_replaces_the_earlier_one_as_it_does_after_a_restart() -> None:
    caught_up = CaughtUp()
    executor = caught_up.apply()
    caught_up.read(quota_command(max_concurrency=1))
    caught_up.read(quota_command(weight=2.0))
    assert executor.quotas.quota("tenant", "acme") == Quota(weight=2)
    assert caught_up.apply().quotas.quota("tenant", "acme") == Quota(weight=2)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "weight": 0}, "weight"),
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "max_concurrency": -1}, "max_concurrency"),
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "max_concurrency": 2**31}, "max_concurrency"),
        ({"action": "set_quota", "scope": "tenant", "target": "acme", "max_per_second": 0}, "max_per_second"),
        ({"action": "set_quota", "scope": "tenant", "target": ""}, "target"),
        ({"action": "pause", "scope": "job", "target": "j"}, "pause does not apply to scope job"),
        ({"action": "cancel_job", "scope": "tenant", "target": "acme"}, "cancel_job does not apply to scope tenant"),
    ],
)
def test_a_command_that_no_worker_could_apply_cannot_be_made(command: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Command.model_validate(command)


@pytest.mark.parametrize("unknown", [{"action": Action.OTHER}, {"scope": Scope.OTHER}])
def test_a_command_of_a_newer_release_changes_nothing_and_blocks_no_other_command(unknown: dict[str, Any]) -> None:
    caught_up = CaughtUp()
    fields = {"action": Action.PAUSE, "scope": Scope.TENANT, "target": "acme", **unknown}
    newer = Command.model_validate(fields)
    with capture_logs() as logs:
        executor = caught_up.apply()
        caught_up.read(CODEC.encode(newer), newer.key)
        caught_up.read(quota_command("other", max_concurrency=3), b"tenant:other:set_quota")
    assert executor.quotas.wait("tenant", "acme", 0) == 0
    assert executor.quotas.quota("tenant", "other") == Quota(max_concurrency=3)
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["command_rejected"]
