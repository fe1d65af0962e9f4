"""Spans of time that root cause analysis compares."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from millstream.analytics.sql import moment

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


def any_of(*windows: Window) -> str:
    """SQL condition: an attempt ended in one of the windows."""
    return "(" + " OR ".join(window.sql() for window in windows) + ")"
