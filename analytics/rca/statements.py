"""The SQL files of this folder, with names, windows and values put in as literals, so that each can be run by hand."""

from collections.abc import Iterable
from datetime import UTC, datetime
from string import Template

from millstream.analytics.sql import sql_file


def statement(name: str, **parts: object) -> str:
    """The text of `sql/NAME.sql` without its comments and with each `$part` replaced."""
    text = sql_file(f"rca/sql/{name}")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return Template("\n".join(lines)).substitute(parts).strip().rstrip(";")


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def moment(at: datetime) -> str:
    """A time as the SQL files put it between quotes, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def column(dimension: str) -> str:
    """The expression of a dimension: a column, or a label for `labels.KEY`."""
    if dimension.startswith("labels."):
        return f"labels[{quoted(dimension.removeprefix('labels.'))}]"
    return "`" + dimension.replace("`", "") + "`"


def alias(dimension: str) -> str:
    """The name of a dimension's column inside a query."""
    return "`" + dimension.replace("`", "") + "`"


def equal(dimensions: Iterable[tuple[str, str]]) -> str:
    """The condition that each dimension has its value."""
    return " AND ".join(f"{column(name)} = {quoted(value)}" for name, value in dimensions) or "1"
