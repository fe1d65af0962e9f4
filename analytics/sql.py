"""The one way to send SQL: files of SQL by name, statements with literals put in, and views with typed rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib import resources
from string import Template
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client

Row = TypeVar("Row")
MOMENT = "DateTime64(6, 'UTC')"


Arguments = Mapping[str, tuple[str, str]]
"""Parameters of a view: name -> (ClickHouse type, value as text)."""


def rows(client: Client, text: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Send a SELECT, with `parameters` for its `{name:Type}` placeholders; times come back as aware UTC datetimes."""
    result = client.query(text, parameters=dict(parameters or {}), query_tz="UTC", tz_mode="aware")
    return [tuple(row) for row in result.result_rows]


def ask(client: Client, row: type[Row], view: str, arguments: Arguments) -> list[Row]:
    """The rows of `view`, which has a column for each field of the dataclass `row`."""
    names = [field.name for field in fields(row)]  # type: ignore[arg-type]
    return [row(*values) for values in read_view(client, names, view, arguments)]


def read_view(client: Client, columns: Iterable[str], view: str, arguments: Arguments) -> list[tuple[Any, ...]]:
    """These columns of a parameterised view."""
    bound = ", ".join(f"{name} = {{{name}:{kind}}}" for name, (kind, _) in arguments.items())
    values = {name: value for name, (_, value) in arguments.items()}
    return rows(client, f"SELECT {', '.join(columns)} FROM {view}({bound})", values)


class InsertUnconfirmed(RuntimeError):
    """The answer to an insert does not say that every row was written, whatever its status."""


def insert(
    client: Client,
    table: str,
    values: Sequence[Sequence[Any]],
    columns: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Insert rows. Raises `InsertUnconfirmed` when the answer shows fewer written rows; how many are in the table is
    unknown then."""
    # The answer is sent when everything is written, so its summary is that of the whole insert.
    summary = client.insert(table, values, columns, settings={"wait_end_of_query": 1, **(settings or {})})
    written = int(summary.summary.get("written_rows", 0))
    if written < len(values):
        raise InsertUnconfirmed(f"ClickHouse wrote {written} of {len(values)} rows to {table}")


def sql_file(name: str) -> str:
    """The text of `NAME.sql` below this package; the name begins with its folder, as in `rca/sql/incidents`."""
    return (resources.files(__package__) / f"{name}.sql").read_text("utf-8")


def statement(name: str, **parts: object) -> str:
    """The one statement of `NAME.sql` without its comments, with each `$part` replaced: it can be run by hand."""
    lines = [line for line in sql_file(name).splitlines() if not line.startswith("--")]
    return Template("\n".join(lines)).substitute(parts).strip().rstrip(";")


def window(start: datetime, end: datetime) -> dict[str, tuple[str, str]]:
    """The parameters `from` and `to` of a view."""
    return {"from": (MOMENT, moment(start)), "to": (MOMENT, moment(end))}


def moment(at: datetime) -> str:
    """An aware datetime as ClickHouse reads it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def quoted(text: str) -> str:
    """A string literal on one line: its line breaks are escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def column(name: str) -> str:
    """The expression of a dimension of an attempt: a column, or a label for `labels.KEY`."""
    if name.startswith("labels."):
        return f"labels[{quoted(name.removeprefix('labels.'))}]"
    return identifier(name)


def identifier(name: str) -> str:
    """A quoted name: of a database, a table, a role, or a column."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def equal(values: Iterable[tuple[str, str]]) -> str:
    """The condition that each dimension has its value."""
    return " AND ".join(f"{column(name)} = {quoted(value)}" for name, value in values) or "1"
