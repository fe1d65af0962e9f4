"""The alerts."""

from enum import StrEnum

from pydantic import Field

from millstream.schemas.record import Record, Timestamp


class AlertKind(StrEnum):
    LOST_WORKER = "lost_worker"
    STUCK_JOB = "stuck_job"
    LATE_JOB = "late_job"
    ERROR_SPIKE = "error_spike"
    BUDGET = "budget"
    OTHER = "other"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Record):
    """A condition that needs attention: the value of a record on `jobs.alerts`."""

    fingerprint: str
    kind: AlertKind
    severity: Severity = Severity.WARNING
    opened_at: Timestamp
    resolved_at: Timestamp | None = None
    subject: str = ""
    summary: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
