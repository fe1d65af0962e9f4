"""The commands to the workers."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from millstream.schemas.ids import new_id
from millstream.schemas.record import Record, Timestamp


class Action(StrEnum):
    CANCEL_JOB = "cancel_job"
    PAUSE = "pause"
    RESUME = "resume"
    SET_QUOTA = "set_quota"
    OTHER = "other"
    """An action of a newer release, as this one reads it."""


class Scope(StrEnum):
    JOB = "job"
    TENANT = "tenant"
    JOB_TYPE = "job_type"
    LANE = "lane"
    OTHER = "other"
    """A scope of a newer release, as this one reads it."""


def command_key(action: Action, scope: Scope, target: str) -> bytes:
    """The key of a command; see `Command.key`."""
    kind = "paused" if action in (Action.PAUSE, Action.RESUME) else action.value
    return f"{scope.value}:{target}:{kind}".encode()


_CANCEL_START, _CANCEL_END = f"{Scope.JOB.value}:".encode(), f":{Action.CANCEL_JOB.value}".encode()


def cancelled_job(key: bytes) -> str | None:
    """The job that the command with this key cancels; None for another command."""
    if not (key.startswith(_CANCEL_START) and key.endswith(_CANCEL_END)):
        return None
    return key[len(_CANCEL_START) : -len(_CANCEL_END)].decode(errors="replace")


class Command(Record):
    """A command to the workers: the value of a record on `jobs.commands`.

    A quota is replaced as a whole: a limit that the command does not set has its configured value. Raises pydantic's
    ValidationError for a command that no worker could apply.
    """

    command_id: str = Field(default_factory=new_id)
    issued_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    issued_by: str = ""
    action: Action
    scope: Scope
    target: str = Field(min_length=1)
    max_concurrency: int | None = Field(None, ge=0, lt=2**31)
    max_per_second: float | None = Field(None, gt=0, allow_inf_nan=False)
    weight: float | None = Field(None, ge=0.01, le=100)
    reason: str = ""

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        known = self.action is not Action.OTHER and self.scope is not Scope.OTHER
        if known and (self.action is Action.CANCEL_JOB) != (self.scope is Scope.JOB):
            raise ValueError(f"{self.action.value} does not apply to scope {self.scope.value}")
        return self

    @property
    def key(self) -> bytes:
        """The record's key, of which compaction keeps the last command. Pausing and resuming replace each other; a
        quota is another kind. A record with this key and no value (a tombstone) revokes the command."""
        return command_key(self.action, self.scope, self.target)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that a quota command sets."""
        return self.model_dump(include={"max_concurrency", "max_per_second", "weight"}, exclude_none=True)
