"""The reference of the views as Markdown: each with its question, parameters, columns and an example with its output.

The examples read a synthetic history, which is the same everywhere, so the page changes only with the views.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import rows, sql_file
from millstream.analytics.warehouse.catalogue import Column, View, views
from millstream.analytics.warehouse.migrate import migrate
from millstream.analytics.warehouse.synthetic import history

JOBS, START, SECONDS = 20_000, datetime(2026, 11, 24, 10, tzinfo=UTC), 3600
KEPT_DAYS = 20_000
"""Long enough that the synthetic history does not expire."""

MOST_ROWS = 5

_INTRODUCTION = """\
# Views

Every question is a parameterised view: `SELECT * FROM view(parameter=value, ...)` from any SQL client. Times are UTC;
`to` is exclusive. All parameters of a view are required. The outputs below are the first rows over a
synthetic hour of 20,000 jobs (`analytics/warehouse/synthetic/`). `make docs` writes this page.

"""


def prepare(client: Client, database: str) -> None:
    """Create `database` with the synthetic history in it; `client` then uses it."""
    migrate(client, database, raw_days=KEPT_DAYS, rollup_days=KEPT_DAYS)
    history.fill(client, JOBS, START, SECONDS)
    client.command("INSERT INTO budgets (tenant, monthly_cost) VALUES ('tenant-0', 0.02), ('tenant-7', 1)")


def reference(client: Client) -> str:
    """The page; `client` uses a database that `prepare` created."""
    comments = _comments(client)
    people = [view for view in views() if not view.is_part]
    parts = [view for view in views() if view.is_part]
    lines = [_INTRODUCTION, "| view | question |\n| --- | --- |\n"]
    lines += [f"| [`{view.name}`](#{view.name}) | {view.question} |\n" for view in people]
    lines += [_section(client, view, comments) for view in people]
    lines += ["\n# Parts of other views\n", *(_section(client, view, comments) for view in parts)]
    return "".join(lines)


def column_types(client: Client, view: View) -> dict[str, str]:
    """The columns of the view as the server describes them, in order, with their types."""
    described = rows(client, f"DESCRIBE TABLE (SELECT * FROM {whole(view)})")
    return {str(name): str(kind) for name, kind, *_ in described}


def _section(client: Client, view: View, comments: dict[str, str]) -> str:
    result = client.query(view.example, query_tz="UTC", tz_mode="aware")
    types = column_types(client, view)
    first = result.result_rows[:MOST_ROWS]
    more = f"\n{len(result.result_rows) - MOST_ROWS} more.\n" if len(result.result_rows) > MOST_ROWS else ""
    return (
        f"\n## {view.name}\n\n{view.question}\n\n"
        + "".join(f"{note}\n\n" for note in view.notes)
        + f"**Parameters** {', '.join(f'`{name}` ({kind})' for name, kind in sorted(view.parameters.items()))}: "
        + f"{view.parameter_text}\n\n"
        + f"**Reads** {', '.join(f'`{table}`' for table in sorted(view.tables))}\n\n"
        + _table(["column", "type", "unit", "meaning"], _described(view.columns, types, comments))
        + f"\n```sql\n{view.example}\n```\n\n"
        + (_table(result.column_names, first) if first else "No rows.\n")
        + more
    )


def _described(columns: list[Column], types: dict[str, str], comments: dict[str, str]) -> list[list[str]]:
    """A row for each column; one without a meaning takes that of the table's column, else of the next column."""
    described = []
    for number, column in enumerate(columns):
        following = next((other.meaning for other in columns[number:] if other.meaning), "")
        meaning = column.meaning or comments.get(column.name) or following
        described.append(
            [f"`{column.name}`", f"`{types[column.name]}`", column.unit, meaning.removeprefix("UTC").lstrip(",; ")]
        )
    return described


def whole(view: View) -> str:
    """The call of the view in its example, without the query around it."""
    call = re.search(rf"\b{view.name}\((?:[^()']|'[^']*')*\)", view.example)
    assert call is not None, f"the example of {view.name} does not call it"
    return call[0]


def _comments(client: Client) -> dict[str, str]:
    return {str(name): str(comment) for name, comment in rows(client, sql_file("warehouse/column_comments"))}


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (date, UUID, str)):
        return str(value).replace("|", "\\|")
    if isinstance(value, list):
        return "[" + ", ".join(_cell(each) for each in value) + "]"
    return str(value)
