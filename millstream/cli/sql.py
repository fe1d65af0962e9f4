"""`millstream sql`"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.failure import Failure
from millstream.cli.output import columns, err, out, print_failure
from millstream.clickhouse import connect

CLICKHOUSE_FORMATS = {"csv": "CSVWithNames", "json": "JSON", "jsonl": "JSONEachRow", "parquet": "Parquet"}
FORMATS = ("table", *CLICKHOUSE_FORMATS)


def sql(
    query: Annotated[str | None, typer.Argument(help="A query; - for stdin; a prompt opens when absent.")] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, csv, json, jsonl or parquet.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format jsonl.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer to this file.")] = None,
) -> None:
    """Query ClickHouse. The prompt completes tables, columns, views and their parameters, and keeps a history.

    Examples:

      millstream sql

      millstream sql "SELECT * FROM failures(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')"

      millstream sql --format parquet -o attempts.parquet "SELECT * FROM job_attempts"
    """
    client = connect(settings_module.load())
    if query is None and sys.stdin.isatty():
        from millstream.cli import sql_prompt

        sql_prompt.run(
            client, lambda *question: _ask_at_prompt(client, *question), lambda text: out.print(text, markup=False)
        )
    else:
        text = sys.stdin.read() if query in (None, "-") else query
        _ask(client, str(text), "jsonl" if as_json else output_format, output)


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
    named = CLICKHOUSE_FORMATS[output_format if output_format != "table" else "csv"]
    with ExitStack() as stack:
        stream = stack.enter_context(client.raw_stream(query, fmt=named))
        try:
            target = stack.enter_context(output.open("wb")) if output else sys.stdout.buffer
        except OSError as error:
            raise Failure(f"--output: {error}", code=2) from error
        while chunk := stream.read(1 << 16):
            target.write(chunk)
    sys.stdout.flush()


def _ask_at_prompt(client: Client, query: str, output_format: str, output: Path | None) -> None:
    try:
        _ask(client, query, output_format, output)
    except ClickHouseError as error:
        print_failure(Failure(str(error).strip()))
    except Failure as failure:
        print_failure(failure)
    except KeyboardInterrupt:
        err.print("[dim]cancelled[/]")


def _table(client: Client, query: str) -> Table:
    result = client.query(query)
    return columns(result.column_names, result.result_rows)
