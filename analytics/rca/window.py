"""Spans of time that root cause analysis compares."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from millstream.analytics.rca.statements import moment

BaselineKind = Literal["auto", "previous", "same_hours"]


@dataclass(frozen=True)
class Window:
    """Half open, [start, end), aware datetimes. An attempt belongs to the window that holds its outcome."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start).total_seconds()

    def sql(self, column: str = "finished_at") -> str:
        """SQL condition: `column` lies in the window."""
        start, end = (f"toDateTime64('{moment(at)}', 6, 'UTC')" for at in (self.start, self.end))
        return f"({column} >= {start} AND {column} < {end})"
