"""The commands of `jobs.commands` that are active, and what each does to an executor.

Commands stay in their compacted topic, so a worker that starts applies all that were ever sent, except those that were
replaced by a later one of the same key or revoked by a tombstone.
"""

import threading

import structlog

from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.scheduling.quotas import QuotaScope
from millstream.schemas import Action, Codec, Command, Scope

log = structlog.get_logger(__name__)

CAUGHT_UP_WITHIN_S = 10.0
_SCOPES: dict[Scope, QuotaScope] = {
    Scope.TENANT: "tenant",
    Scope.JOB_TYPE: "job_type",
    Scope.LANE: "lane",
}


class ActiveCommands:
    """Applies each command as it arrives, and all of them to each new executor. Thread-safe.

    `caught_up`: the topic has been read to its end once.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._active: dict[bytes, Command] = {}
        self._executor: Executor | None = None
        self._lock = threading.Lock()
        self.caught_up = threading.Event()

    def receive(self, key: bytes, value: bytes | None) -> None:
        """Apply a record of the topic: a command, or the tombstone that revokes the command of its key.

        Raises `DecodeError` and `RegistryUnavailable`; nothing has changed then.
        """
        if value is None:
            self._revoke(key)
            return
        command = self._codec.decode(value, Command)
        with self._lock:
            self._active[command.key] = command
            if self._executor is not None:
                _apply(command, self._executor)
        log.info("command_applied", action=command.action.value, scope=command.scope.value, target=command.target)

    def apply_to(self, executor: Executor) -> None:
        """Apply every active command to a new executor, and those that follow. Blocks until the topic has been read to
        its end, at most ten seconds."""
        if not self.caught_up.wait(CAUGHT_UP_WITHIN_S):
            log.warning("commands_not_caught_up", waited_s=CAUGHT_UP_WITHIN_S)
        with self._lock:
            self._executor = executor
            for command in self._active.values():
                _apply(command, executor)

    def _revoke(self, key: bytes) -> None:
        with self._lock:
            command = self._active.pop(key, None)
            if command is not None and self._executor is not None:
                _apply(command, self._executor, active=False)


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
        if active:
            executor.cancel(target, command.reason or f"cancelled by {command.issued_by or 'an operator'}")
        else:
            executor.revoke_cancellation(target)
        return
    scope = _SCOPES[command.scope]
    if command.action is Action.SET_QUOTA:
        limits = command.limits if active else {}
        executor.change_quotas(lambda quotas: quotas.apply_limits(scope, target, **limits))
    else:
        paused = active and command.action is Action.PAUSE
        executor.change_quotas(lambda quotas: quotas.pause(scope, target, paused))
