"""The content of an answer, independent of the medium: a title, verdicts and blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Tone = Literal["good", "bad", "neutral"]


@dataclass(frozen=True)
class Lines:
    """Sentences, one per line."""

    title: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table. `left`: numbers of the columns with text; the others are figures. `note` is printed below."""

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
    """Text to copy: a query or a command."""

    title: str
    text: str


Block = Lines | Grid | Chart | Snippet


@dataclass(frozen=True)
class Page:
    """An answer. `subtitle`: what was examined. `verdicts`: the conclusions. `tone`: whether they are good news."""

    title: str
    subtitle: str
    verdicts: Sequence[str]
    blocks: Sequence[Block]
    tone: Tone = "neutral"
