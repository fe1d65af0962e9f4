"""Commands: what a worker applies of what it reads on the command topic."""

import math
import time
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from millstream.consumers.worker.coordination import commands as module
from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.execution.cancellations import Cancellation, Unread
from millstream.consumers.worker.scheduling.quotas import Quota, Quotas
from millstream.schemas import Action, Codec, Command, DecodeError, Scope
from millstream.schemas.ids import new_id

CODEC = Codec()
WEEK_S = 7 * 24 * 3600.0


class ScriptedExecutor:
    """Applies at once what an executor applies on its event loop."""

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas()
        self.cancelled: list[str] = []

    def change_quotas(self, change: Any) -> None:
        change(self.quotas)

    def cancel(self, job_id: str, reason: str, issued_us: float) -> None:
        self.cancelled.append(job_id)

    def cancel_unread(self, records: dict[str, bytes], read: Unread) -> None:
        self.cancelled += records
        self.read = read

    def revoke_cancellation(self, job_id: str) -> None:
        self.cancelled.remove(job_id)


class CaughtUp:
    """Active commands of a topic that has been read to its end."""

    def __init__(self) -> None:
        self.commands = ActiveCommands(CODEC, WEEK_S)
        self.commands.caught_up.set()

    def read(self, value: bytes | None, key: bytes = b"tenant:acme:set_quota", age_s: float = 0.0) -> None:
        self.commands.receive(key, value, time.time() - age_s)

    def apply(self, quotas: Quotas | None = None) -> ScriptedExecutor:
        executor: Any = ScriptedExecutor(quotas)
        assert self.commands.apply_to(executor, lambda: True)
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


def test_a_revoked_command_is_undone_now_and_not_applied_by_the_next_worker() -> None:
    caught_up, next_one = CaughtUp(), CaughtUp()
    sent = [
        Command(action=Action.SET_QUOTA, scope=Scope.TENANT, target="acme", max_concurrency=1),
        Command(action=Action.PAUSE, scope=Scope.LANE, target="bulk"),
        Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target="j"),
    ]
    for command in sent:
        for each in (caught_up, next_one):
            each.read(CODEC.encode(command), command.key)
    configured = Quota(max_concurrency=7)
    executor = caught_up.apply(Quotas({("tenant", "acme"): configured}))
    assert executor.quotas.quota("tenant", "acme") == Quota(max_concurrency=1)
    assert executor.quotas.wait("lane", "bulk", 0) == math.inf
    assert executor.cancelled == ["j"]
    for command in sent:
        for each in (caught_up, next_one):
            each.read(None, command.key)
    for applied in (executor, next_one.apply(Quotas({("tenant", "acme"): configured}))):
        assert applied.quotas.quota("tenant", "acme") == configured
        assert applied.quotas.wait("lane", "bulk", 0) == 0
        assert applied.cancelled == []


def cancel_command(job_id: str, **fields: Any) -> Command:
    return Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=job_id, **fields)


def test_old_commands_to_cancel_are_not_decoded_until_their_job_starts() -> None:
    caught_up, command = CaughtUp(), cancel_command("j", reason="not needed")
    caught_up.read(CODEC.encode(command), command.key)
    caught_up.read(b"damaged", cancel_command("k").key)
    executor = caught_up.apply()
    assert executor.cancelled == ["j", "k"]
    issued_us = round(command.issued_at.timestamp() * 1_000_000)
    assert executor.read(CODEC.encode(command)) == Cancellation("not needed", issued_us)
    with capture_logs() as logs:
        assert executor.read(b"damaged") is None
    assert [each["event"] for each in logs] == ["command_rejected"]


def test_a_command_to_cancel_is_out_of_use_when_no_lane_can_hold_its_job_any_more() -> None:
    caught_up, command = CaughtUp(), cancel_command("j")
    pause = Command(action=Action.PAUSE, scope=Scope.LANE, target="bulk")
    for each in (command, pause):
        caught_up.read(CODEC.encode(each), each.key, age_s=WEEK_S + 1)
    executor = caught_up.apply()
    assert executor.cancelled == []
    assert executor.quotas.wait("lane", "bulk", 0) == math.inf, "a pause holds until it is revoked"


def test_a_command_to_cancel_that_arrives_is_applied_at_once() -> None:
    caught_up, command = CaughtUp(), cancel_command("j")
    executor = caught_up.apply()
    caught_up.read(CODEC.encode(command), command.key)
    assert executor.cancelled == ["j"]


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


def test_no_job_starts_before_the_commands_are_read_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_S", 0.001)
    monkeypatch.setattr(module, "SAY_S", 0.005)
    commands = ActiveCommands(CODEC, WEEK_S)
    executor: Any = ScriptedExecutor()
    asked: list[int] = []

    def keep_waiting() -> bool:
        asked.append(1)
        if len(asked) == 50:
            pause = Command(action=Action.PAUSE, scope=Scope.TENANT, target="acme")
            commands.receive(pause.key, CODEC.encode(pause), time.time())
            commands.caught_up.set()
        return True

    with capture_logs() as logs:
        assert commands.apply_to(executor, keep_waiting)
    assert executor.quotas.wait("tenant", "acme", 0) == math.inf
    assert "waiting_for_commands" in {each["event"] for each in logs}


def test_a_worker_that_is_to_stop_does_not_wait_for_the_commands() -> None:
    executor: Any = ScriptedExecutor()
    assert not ActiveCommands(CODEC, WEEK_S).apply_to(executor, lambda: False)


def test_a_command_under_the_key_of_another_is_refused() -> None:
    pause = Command(action=Action.PAUSE, scope=Scope.TENANT, target="globex")
    given = CaughtUp()
    with pytest.raises(DecodeError, match="'globex' under another's key"):
        given.read(CODEC.encode(pause), key=b"tenant:acme:paused")
    assert given.apply().quotas.wait("tenant", "globex", 0.0) == 0


@pytest.mark.parametrize(
    "key",
    [b"tenant:acme:set_quota", f"job:{new_id()}:cancel_job".encode(), b"k" * 5_000],
    ids=["quota", "cancellation", "no command"],
)
def test_a_command_that_is_too_large_is_refused(key: bytes) -> None:
    given = CaughtUp()
    with pytest.raises(DecodeError, match=r"a command of .* bytes, the most are 4,096"):
        given.read(b"x" * 4_096, key=key)
    assert given.apply().cancelled == []


def test_made_up_commands_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ACTIVE", 3)
    given = CaughtUp()
    commands = [Command(action=Action.PAUSE, scope=Scope.TENANT, target=f"t{number}") for number in range(5)]
    for command in commands[:3]:
        given.read(CODEC.encode(command), key=command.key)
    for command in commands[3:]:
        with pytest.raises(DecodeError, match="beyond the 3"):
            given.read(CODEC.encode(command), key=command.key)
    given.read(CODEC.encode(commands[0]), key=commands[0].key)
