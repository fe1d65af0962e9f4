"""What an answer looks like, whatever it is shown on: a title, what follows from it, and blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Tone = Literal["good", "bad", "neutral"]


@dataclass(frozen=True)
class Lines:
    """Sentences, one a line."""

    title: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table. `left`: numbers of the columns with text; the others are figures. `note` is said below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A metric over time; None where there is no value. `marked` is the incident, `marks` are moments with a name."""

    title: str
    unit: str
    moments: Sequence[datetime]
    values: Sequence[float | None]
    marked: tuple[datetime, datetime] | None = None
    marks: Sequence[tuple[datetime, str]] = ()
    usual: Sequence[float | None] = ()


@dataclass(frozen=True)
class Snippet:
    """Something to copy: a query or a command."""

    title: str
    text: str


Block = Lines | Grid | Chart | Snippet


@dataclass(frozen=True)
class Page:
    """An answer. `subtitle` says what was looked at, `verdicts` what follows, in the `tone` of it."""

    title: str
    subtitle: str
    verdicts: Sequence[str]
    blocks: Sequence[Block]
    tone: Tone = "neutral"
