"""`millstream sql`"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.output import Failure, complain, out
from millstream.clickhouse import connect
from millstream.settings import Settings

Format = Literal["table", "csv", "json", "jsonl", "parquet"]
CLICKHOUSE_FORMATS = {"csv": "CSVWithNames", "json": "JSON", "jsonl": "JSONEachRow", "parquet": "Parquet"}


def sql(
    query: Annotated[str | None, typer.Argument(help="A query; - for stdin; a prompt opens when absent.")] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, csv, json, jsonl or parquet.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format jsonl.")] = False,
) -> None:
    """Ask ClickHouse.

    Examples:

      millstream sql "SELECT * FROM failures(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')"

      millstream sql --format parquet "SELECT * FROM job_attempts" > attempts.parquet
    """
    if as_json:
        output_format = "jsonl"
    if output_format not in ("table", *CLICKHOUSE_FORMATS):
        raise Failure(f"unknown format {output_format!r}", f"one of table, {', '.join(CLICKHOUSE_FORMATS)}", code=2)
    settings = settings_module.load()
    client = connect(settings)
    if query is None and sys.stdin.isatty():
        _prompt(client, settings)
    else:
        text = sys.stdin.read() if query in (None, "-") else query
        _run(client, str(text), output_format)


def _run(client: Client, query: str, output_format: str) -> None:
    query = query.strip().rstrip(";")
    if output_format != "table":
        with client.raw_stream(query, fmt=CLICKHOUSE_FORMATS[output_format]) as stream:
            while chunk := stream.read(1 << 16):
                sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
        return
    result = client.query(query)
    table = Table(*result.column_names, box=None, pad_edge=False, header_style="bold")
    for row in result.result_rows:
        table.add_row(*(str(value).replace("[", r"\[") for value in row))
    out.print(table)


def _prompt(client: Client, settings: Settings) -> None:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    words = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String} "
        "UNION DISTINCT SELECT name FROM system.columns WHERE database = {database:String}",
        parameters={"database": settings.clickhouse.database},
    ).result_columns[0]
    history = Path.home() / ".millstream_sql_history"
    session: PromptSession[str] = PromptSession(
        "millstream> ",
        completer=WordCompleter(sorted(words), ignore_case=True),
        history=FileHistory(str(history)),
    )
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text in ("exit", "quit"):
            return
        if text:
            try:
                _run(client, text, "table")
            except ClickHouseError as error:
                complain(Failure(str(error).strip()))
