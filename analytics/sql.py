"""The one way to send SQL: files of SQL by name, and parameterised views with each row as a typed value."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from importlib import resources
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client

Row = TypeVar("Row")
MOMENT = "DateTime64(6, 'UTC')"


Arguments = Mapping[str, tuple[str, str]]
"""Parameters of a view: name -> (ClickHouse type, value as text)."""


def window(start: datetime, end: datetime) -> dict[str, tuple[str, str]]:
    """The parameters `from` and `to` of a view."""
    return {"from": (MOMENT, moment(start)), "to": (MOMENT, moment(end))}


def moment(at: datetime) -> str:
    """An aware datetime as ClickHouse reads it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def ask(client: Client, row: type[Row], view: str, arguments: Arguments) -> list[Row]:
    """The rows of `view`, which has a column for each field of the dataclass `row`."""
    columns = ", ".join(field.name for field in fields(row))  # type: ignore[arg-type]
    bound = ", ".join(f"{name} = {{{name}:{kind}}}" for name, (kind, _) in arguments.items())
    values: dict[str, Any] = {name: value for name, (_, value) in arguments.items()}
    result = client.query(f"SELECT {columns} FROM {view}({bound})", parameters=values, query_tz="UTC", tz_mode="aware")
    return [row(*values) for values in result.result_rows]


def sql_file(name: str) -> str:
    """The text of `NAME.sql` below this package; the name begins with its folder, as in `rca/sql/incidents`."""
    return (resources.files(__package__) / f"{name}.sql").read_text("utf-8")
