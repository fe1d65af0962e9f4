"""The commands of `jobs.commands` that are active, and what each does to an executor.

Commands stay in their compacted topic, so a worker that starts applies all that were ever sent, except those that were
replaced by a later one of the same key or revoked by a tombstone. Commands to cancel a job that had ended before stay
as well, until somebody removes those that have expired, so there may be many of them: they are kept as they are read,
and decoded when their job starts.
"""

import threading
import time
from collections.abc import Callable

import structlog

from millstream.consumers.worker.execution.cancellations import Cancellation
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.scheduling.quotas import QuotaScope
from millstream.schemas import Action, Codec, Command, DecodeError, RegistryUnavailable, Scope
from millstream.schemas.command import cancelled_job
from millstream.schemas.partial_encoder import microseconds

log = structlog.get_logger(__name__)

ASK_S = 0.5
SAY_S = 10.0
MOST_BYTES = 4_096
"""Bytes of a command with its key: up to a million of them are kept until their jobs start."""

MOST_ACTIVE = 100_000
"""Commands that are active, besides those to cancel a job."""

_SCOPES: dict[Scope, QuotaScope] = {
    Scope.TENANT: "tenant",
    Scope.JOB_TYPE: "job_type",
    Scope.LANE: "lane",
}


class ActiveCommands:
    """Applies each command as it arrives, once there is an executor, and to that all before. Thread-safe.

    `expire_after_s`: when the command to cancel a job is out of use, in seconds: no request is kept for longer in the
    lanes. `caught_up`: the topic has been read to its end once.
    """

    def __init__(self, codec: Codec, expire_after_s: float) -> None:
        self._codec = codec
        self._expire_after_s = expire_after_s
        self._active: dict[bytes, Command] = {}
        self._cancelled: dict[str, bytes] = {}
        """The records of commands to cancel a job, until there is an executor."""
        self._executor: Executor | None = None
        self._lock = threading.Lock()
        self.caught_up = threading.Event()

    def receive(self, key: bytes, value: bytes | None, sent_at: float) -> None:
        """Apply a record of the topic that was sent at `sent_at`, in seconds since 1970: a command, or the tombstone
        that revokes the command of its key.

        Raises `DecodeError` and `RegistryUnavailable`; nothing has changed then.
        """
        if len(key) + len(value or b"") > MOST_BYTES:
            raise DecodeError(f"a command of {len(key) + len(value or b''):,} bytes, the most are {MOST_BYTES:,}")
        job_id = cancelled_job(key)
        if value is None:
            self._revoke(key, job_id)
        elif job_id is None:
            self._receive_command(key, self._codec.decode(value, Command))
        elif sent_at >= time.time() - self._expire_after_s:
            self._receive_cancellation(job_id, value)

    def apply_to(self, executor: Executor, keep_waiting: Callable[[], bool]) -> bool:
        """Apply every active command to an executor, and those that follow. Blocks until the topic has been read to its
        end: a job that starts without them may be one that was paused. Returns False when `keep_waiting`, which is
        called twice a second, ended that."""
        began = said_at = time.monotonic()
        while not self.caught_up.wait(ASK_S):
            if not keep_waiting():
                return False
            if time.monotonic() - said_at > SAY_S:
                said_at = time.monotonic()
                log.warning("waiting_for_commands", waited_s=round(said_at - began), action="no job starts before")
        with self._lock:
            self._executor = executor
            for command in self._active.values():
                _apply(command, executor)
            cancelled, self._cancelled = self._cancelled, {}
            executor.cancel_unread(cancelled, self._cancellation)
        log.info("commands_applied", active=len(self._active), cancelled_jobs=len(cancelled))
        return True

    def _receive_command(self, key: bytes, command: Command) -> None:
        if command.key != key:
            # Nobody could revoke it, and compaction would not replace it.
            raise DecodeError(f"a command to {command.action.value} {command.target[:200]!r} under another's key")
        with self._lock:
            if len(self._active) >= MOST_ACTIVE and key not in self._active:
                raise DecodeError(f"a command beyond the {MOST_ACTIVE:,} that are active")
            self._active[command.key] = command
            if self._executor is None:
                return
            _apply(command, self._executor)
        log.info("command_applied", action=command.action.value, scope=command.scope.value, target=command.target)

    def _receive_cancellation(self, job_id: str, value: bytes) -> None:
        with self._lock:
            if self._executor is None:
                self._cancelled[job_id] = value
                return
        cancellation = _cancellation(self._codec.decode(value, Command))
        self._executor.cancel(job_id, *cancellation)
        log.info("command_applied", action=Action.CANCEL_JOB.value, scope=Scope.JOB.value, target=job_id)

    def _revoke(self, key: bytes, job_id: str | None) -> None:
        with self._lock:
            command, executor = self._active.pop(key, None), self._executor
            if job_id is not None:
                self._cancelled.pop(job_id, None)
                if executor is not None:
                    executor.revoke_cancellation(job_id)
            elif command is not None and executor is not None:
                _apply(command, executor, active=False)

    def _cancellation(self, value: bytes) -> Cancellation | None:
        """The cancellation in a record; None when it is not one."""
        try:
            return _cancellation(self._codec.decode(value, Command))
        except (DecodeError, RegistryUnavailable) as error:
            log.error("command_rejected", action=Action.CANCEL_JOB.value, reason=str(error))
            return None


def _cancellation(command: Command) -> Cancellation:
    reason = command.reason or f"cancelled by {command.issued_by or 'an operator'}"
    return Cancellation(reason, microseconds(command.issued_at))


def _apply(command: Command, executor: Executor, active: bool = True) -> None:
    """Apply a command, or undo it when it is not active any more. Anybody with write access to the topic can send one
    that cannot be applied; it must not keep the others from being applied."""
    try:
        _change(command, executor, active)
    except Exception as error:
        log.error(
            "command_rejected",
            action=command.action.value,
            scope=command.scope.value,
            target=command.target,
            reason=str(error),
        )


def _change(command: Command, executor: Executor, active: bool) -> None:
    target = command.target
    if command.action is Action.OTHER or command.scope is Scope.OTHER:
        raise ValueError("this release of the worker does not have the action or the scope")
    if command.action is Action.CANCEL_JOB:
        raise ValueError("its key is not that of the command")
    scope = _SCOPES[command.scope]
    if command.action is Action.SET_QUOTA:
        limits = command.limits if active else {}
        executor.change_quotas(lambda quotas: quotas.apply_limits(scope, target, **limits))
    else:
        paused = active and command.action is Action.PAUSE
        executor.change_quotas(lambda quotas: quotas.pause(scope, target, paused))
