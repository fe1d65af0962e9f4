"""Descriptions of the views: question, parameters, columns and an example, read from the first comment of each file.

The documentation, the dashboard, the prompt's completion and the benches use them, so that a view is described in one
place. A comment is a question, further paragraphs, and items that begin with `Parameters:`, `Columns:` and `Example:`;
the continuation lines of an item are indented.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from millstream.analytics.warehouse.migrate import table_names, view_names, view_text

UNITS = {
    "_per_s": "1/s",
    "_ms": "ms",
    "_s": "s",
    "_hours": "h",
    "_bytes": "bytes",
    "_share": "0 to 1",
    "_rate": "0 to 1",
    "utilisation": "0 to 1",
    "share": "0 to 1",
    "_at": "UTC",
    "_seen": "UTC",
    "_cost": "currency",
    "cost": "currency",
    "budget": "currency",
    "spent": "currency",
    "forecast": "currency",
    "unit_price": "currency/h",
    "price_per_hour": "currency/h",
    "minute": "UTC",
    "step": "UTC",
    "day": "UTC",
    "_from": "UTC",
    "_to": "UTC",
}
"""Unit of a column, by the end of its name."""


@dataclass(frozen=True)
class Column:
    """A column of a view; `meaning` is empty where the name is enough."""

    name: str
    meaning: str

    @property
    def unit(self) -> str:
        return next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")


@dataclass(frozen=True)
class View:
    """The description of a view. `parameters` maps names to types; `parameter_text` explains them."""

    name: str
    question: str
    notes: list[str]
    parameters: dict[str, str]
    parameter_text: str
    columns: list[Column]
    example: str
    tables: frozenset[str]
    """Tables that it reads, also through other views."""

    @property
    def columns_named(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def is_part(self) -> bool:
        """Whether it is read by other views only."""
        return self.question.endswith("(A part of other views.)")

    @property
    def reads_rows(self) -> bool:
        """Whether it reads events, attempts, jobs or dead letters one by one, not only rollups."""
        return bool(self.tables & {"job_events", "job_attempts", "jobs", "worker_heartbeats", "dead_letters"})


class Undescribed(ValueError):
    """A view's file lacks a part of its description; the text says which."""


@cache
def views() -> tuple[View, ...]:
    """All views by name. Raises `Undescribed`."""
    return tuple(view(name) for name in sorted(view_names()))


@cache
def view(name: str) -> View:
    """One view. Raises `Undescribed`."""
    text = view_text(name)
    items = list(_items(text))
    keyed = {}
    for key in ("Parameters", "Columns", "Example"):
        found = [item for item in items if item.startswith(f"{key}: ")]
        if len(found) != 1:
            raise Undescribed(f"{name}.sql: its first comment has {len(found)} items that begin with '{key}:'")
        keyed[key] = found[0].removeprefix(f"{key}: ")
    columns, rest = _columns(keyed["Columns"])
    notes = [item for item in items[1:] if not item.startswith(("Parameters: ", "Columns: ", "Example: "))]
    return View(
        name,
        items[0],
        [*notes, *([rest] if rest else [])],
        dict(re.findall(r"\{(\w+):(\w+(?:\(.*?\))?)\}", text)),
        keyed["Parameters"],
        columns,
        keyed["Example"],
        _tables(text),
    )


def _items(text: str) -> Iterator[str]:
    current: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        words = line.removeprefix("--").strip()
        indented = line.startswith("--  ")
        keyed = bool(current) and re.match(r"(Parameters|Columns|Example): ", current[0])
        begins = not words or (not indented and (keyed or re.match(r"(Parameters|Columns|Example): ", words)))
        if begins and current:
            yield " ".join(current)
            current = []
        if words:
            current.append(words)
    if current:
        yield " ".join(current)


def _columns(text: str) -> tuple[list[Column], str]:
    """The columns of a list such as `a, b (what b is), c.`, and the sentences behind it."""
    listed, columns, depth, begin = text, [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter == "." and text[position + 1 : position + 2] in ("", " "):
            listed = text[:position]
            break
    for position, letter in enumerate(listed + ","):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter == ",":
            name, _, meaning = listed[begin:position].strip().partition(" (")
            columns.append(Column(name, meaning.removesuffix(")")))
            begin = position + 1
    return columns, text[len(listed) + 1 :].strip()


def _tables(text: str) -> frozenset[str]:
    sql = re.sub(r"--[^\n]*", "", text)
    found = {name for name in table_names() if re.search(rf"\b(FROM|JOIN) {name}\b", sql)}
    for name in view_names():
        if re.search(rf"\b{name}\(\s*from = ", sql):
            found |= _tables(view_text(name))
    return frozenset(found)
