"""`millstream sql`"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import RenderableType
from rich.text import Text

from millstream import settings as settings_module
from millstream.analytics.client import server_text
from millstream.analytics.warehouse.catalogue import views
from millstream.cli.failure import Failure
from millstream.cli.output import columns, err, out, print_failure
from millstream.cli.query_hints import missing_parameters
from millstream.cli.result_stream import copy
from millstream.clickhouse import connect
from millstream.terminal import styled
from millstream.visible import visible, visible_lines

CLICKHOUSE_FORMATS = {"csv": "CSVWithNames", "json": "JSON", "jsonl": "JSONEachRow", "parquet": "Parquet"}
FORMATS = ("table", *CLICKHOUSE_FORMATS)


def sql(
    query: Annotated[str | None, typer.Argument(help="A query; - for stdin; a prompt opens when absent.")] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, csv, json, jsonl or parquet.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format jsonl.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer to this file.")] = None,
) -> None:
    """Query ClickHouse. The prompt completes tables, columns, views and their parameters, and keeps a history.

    On a terminal control characters are shown as escapes. In CSV an apostrophe is put before a text that a spreadsheet
    would take for a formula; jsonl and parquet hold every text unchanged.

    Examples:

      millstream sql

      millstream sql "SELECT * FROM failures(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')"

      millstream sql --format parquet -o attempts.parquet "SELECT * FROM job_attempts"
    """
    client = connect(settings_module.load())
    if query is None and sys.stdin.isatty():
        from millstream.cli import sql_prompt

        sql_prompt.run(client, lambda *question: _ask_at_prompt(client, *question), out.print)
    else:
        text = str(sys.stdin.read() if query in (None, "-") else query)
        try:
            _ask(client, text, "jsonl" if as_json else output_format, output)
        except ClickHouseError as error:
            raise _rejected(error, text) from error


def _ask(client: Client, query: str, output_format: str, output: Path | None) -> None:
    if output_format not in FORMATS:
        raise Failure(f"unknown format {output_format!r}", f"one of {', '.join(FORMATS)}", code=2)
    query = query.strip().rstrip(";")
    if not query:
        raise Failure("there is no query", 'millstream sql "SELECT 1"', code=2)
    if output_format == "table" and output is None:
        out.print(_table(client, query))
        return
    # A file is read by programs: write CSV instead of a table.
    chosen = output_format if output_format != "table" else "csv"
    with ExitStack() as stack:
        stream = stack.enter_context(client.raw_stream(query, fmt=CLICKHOUSE_FORMATS[chosen]))
        try:
            target: BinaryIO = stack.enter_context(output.open("wb")) if output else sys.stdout.buffer
        except OSError as error:
            raise Failure(f"--output: {error}", code=2) from error
        copy(stream, target, chosen)
    sys.stdout.flush()


def _ask_at_prompt(client: Client, query: str, output_format: str, output: Path | None) -> None:
    try:
        _ask(client, query, output_format, output)
    except ClickHouseError as error:
        print_failure(_rejected(error, query))
    except Failure as failure:
        print_failure(failure)
    except KeyboardInterrupt:
        err.print(styled(("cancelled", "dim")))


def _rejected(error: ClickHouseError, query: str) -> Failure:
    """What ClickHouse says about the query, and what its views lack; that it does not answer is another exit code."""
    answered = getattr(error, "code", None) is not None
    return Failure(f"ClickHouse: {server_text(error)}", missing_parameters(query, views()), 2 if answered else 3)


def _table(client: Client, query: str) -> RenderableType:
    result = client.query(query)
    if len(result.result_rows) == 1 and len(result.column_names) == 1:
        # There is no other line that its line breaks could imitate, and a definition is read with them.
        return Text(visible_lines(f"{visible(result.column_names[0])}\n{result.result_rows[0][0]}"))
    return columns(result.column_names, result.result_rows)
