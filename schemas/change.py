"""The deploys, configuration and quota changes."""

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from millstream.schemas.ids import new_id
from millstream.schemas.record import Record, Timestamp


class ChangeKind(StrEnum):
    DEPLOY = "deploy"
    CONFIG = "config"
    QUOTA = "quota"
    INFRASTRUCTURE = "infrastructure"
    OTHER = "other"


class Change(Record):
    """A deploy, configuration or quota change: the value of a record on `jobs.changes`."""

    change_id: str = Field(default_factory=new_id)
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    kind: ChangeKind
    service: str
    version: str = ""
    author: str = ""
    summary: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
