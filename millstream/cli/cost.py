"""`millstream prices`, `budgets`, `cost`: the price book, monthly budgets, and the export of charges."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream import settings as settings_module
from millstream.analytics.cost.budgets import budget_alerts, budget_gaps
from millstream.analytics.cost.price_files import Budget, InvalidFile, Kind, Price, read_file
from millstream.analytics.cost.prices import load
from millstream.cli.failure import Failure
from millstream.cli.kafka_access import accepted_connection
from millstream.cli.options import AsJson
from millstream.cli.output import answer, columns, warn
from millstream.cli.result_stream import copy
from millstream.clickhouse import connect
from millstream.schemas import Alert
from millstream.schemas.denial import named
from millstream.settings import Settings

prices = typer.Typer(help="The price book: the price of each machine type, and when it applies.", no_args_is_help=True)
budgets = typer.Typer(help="Monthly budgets of tenants, and which ones are exceeded.", no_args_is_help=True)
cost = typer.Typer(help="What jobs cost.", no_args_is_help=True)

FILE = typer.Argument(help="CSV or YAML file; its fields are those of the table.")
REPLACE = typer.Option("--replace", help="Remove every entry that the file does not contain.")


@prices.command("load")
def load_prices(
    file: Annotated[Path, FILE], replace: Annotated[bool, REPLACE] = False, as_json: AsJson = False
) -> None:
    """Check a price file and load all of it, or nothing when a row is wrong. Past prices correct past costs.

    The book has one currency, and a price of the instance type `default` for every time, which unknown machines have.

    Examples:

      millstream prices load prices.csv

      millstream prices load prices.yaml --replace
    """
    loaded = _load(file, Price, replace)
    answer(as_json, {"loaded": loaded}, lambda: f"{loaded} prices loaded")


@prices.command("list")
def list_prices(as_json: AsJson = False) -> None:
    """Print the price book."""
    result = connect(settings_module.load()).query(
        "SELECT instance_type, region, purchase_option, effective_from, effective_to, currency, price_per_hour, vcpus, "
        "memory_gib FROM price_book FINAL ORDER BY ALL"
    )
    names, rows = result.column_names, result.result_rows
    answer(as_json, [dict(zip(names, row, strict=True)) for row in rows], lambda: columns(names, rows))


@budgets.command("load")
def load_budgets(
    file: Annotated[Path, FILE], replace: Annotated[bool, REPLACE] = False, as_json: AsJson = False
) -> None:
    """Check a budget file and load all of it, or nothing when a row is wrong. Budgets are in the prices' currency.

    Examples:

      millstream budgets load budgets.yaml
    """
    loaded = _load(file, Budget, replace)
    answer(as_json, {"loaded": loaded}, lambda: f"{loaded} budgets loaded")


@budgets.command("check")
def check_budgets(
    send: Annotated[bool, typer.Option("--send", help="Write the alerts to jobs.alerts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the alerts of this month's budgets that were not sent yet; exit code 1 when there are some.

    Usage that the budgets do not cover, because it has no price, is reported on stderr.

    Examples:

      millstream budgets check --send
    """
    settings = settings_module.load()
    client, now = connect(settings), datetime.now(UTC)
    found = budget_alerts(client, now)
    for gap in budget_gaps(client, now):
        warn(gap)
    if send and found:
        _send(settings, found)
    answer(
        as_json,
        [alert.model_dump(mode="json") for alert in found],
        lambda: "\n".join(f"{alert.severity}: {alert.summary}" for alert in found) or "nothing new",
    )
    if found:
        raise typer.Exit(1)


@cost.command("export")
def export(
    start: Annotated[datetime, typer.Option("--from", help="Start of the window, UTC.")],
    end: Annotated[datetime, typer.Option("--to", help="End of the window, UTC, exclusive.")],
    output_format: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
) -> None:
    """Write the charges of each day to stdout, in the columns of FOCUS.

    In CSV an apostrophe is put before a text that a spreadsheet would take for a formula.

    Examples:

      millstream cost export --from 2026-11-01 --to 2026-12-01 > focus.csv

      millstream cost export --from 2026-11-01 --to 2026-12-01 --format parquet > focus.parquet
    """
    formats = {"csv": "CSVWithNames", "parquet": "Parquet"}
    if output_format not in formats:
        raise Failure(f"unknown format {output_format!r}", "one of csv, parquet", code=2)
    if start >= end:
        raise Failure(f"the window starts at {start} and ends at {end}", "exchange --from and --to", code=2)
    client = connect(settings_module.load())
    window = {"from": f"{start:%Y-%m-%d %H:%M:%S}", "to": f"{end:%Y-%m-%d %H:%M:%S}"}
    bound = "from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}"
    stream = client.raw_stream(
        f"SELECT * FROM focus_charges({bound})",
        parameters=window,
        fmt=formats[output_format],
        settings={"date_time_output_format": "iso", "format_csv_null_representation": ""},
    )
    with stream as pieces:
        copy(pieces, sys.stdout.buffer, output_format)
    sys.stdout.flush()


def _load(file: Path, kind: type[Kind], replace: bool) -> int:
    settings = settings_module.load()
    try:
        rows = read_file(file, kind)
    except InvalidFile as error:
        raise Failure(str(error), "nothing was loaded", code=2) from error
    except OSError as error:
        raise Failure(str(error), code=2) from error
    try:
        load(connect(settings), rows, replace=replace, cluster=settings.clickhouse.cluster)
    except InvalidFile as error:
        raise Failure(str(error), "nothing was loaded", code=2) from error
    return len(rows)


def _send(settings: Settings, alerts: list[Alert]) -> None:
    connection, topic = accepted_connection(settings), settings.catalogue.alerts
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer(connection.producer(client_id="millstream-budgets"))
    try:
        for alert in alerts:
            producer.produce(topic, settings.codec.encode(alert), alert.fingerprint, on_delivery=delivered)
        left = producer.flush(30)
        if refused:
            raise KafkaException(refused[0])
    except KafkaException as error:
        raise named(error, connection.user, "Write", f"topic {topic}") from error
    if left:
        raise Failure(f"{left} of {len(alerts)} alerts were not acknowledged by Kafka", "run the check again", code=3)
