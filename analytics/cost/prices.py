"""The price book and the budgets: read from CSV or YAML, checked as a whole, written to ClickHouse.

A CSV file has a header with the field names; a YAML file is a list of mappings, or a mapping with such a list under
`prices` or `budgets`. A date without a time is midnight UTC. Rows with an equal key replace what is there.
"""

import csv
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from clickhouse_connect.driver.client import Client
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from millstream.analytics.warehouse.cluster import LOCAL, distributed

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ALWAYS = datetime(2106, 1, 1, tzinfo=UTC)
"""As far as ClickHouse's DateTime goes: the end of a price that has none."""


class InvalidFile(ValueError):
    """The file cannot be loaded; the text has a line for each problem, and nothing was written."""


def _moment(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, str) and len(value) == len("2026-11-24"):
        return f"{value}T00:00:00+00:00"
    return value


def _utc(value: datetime) -> datetime:
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    # Compared as it is: the first and the last day that Python knows may have no counterpart in UTC.
    if not BEGINNING <= moment <= ALWAYS:
        raise ValueError("not between 1970 and 2106")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_utc)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class Price(_Row):
    """What a machine costs an hour, from `effective_from` until `effective_to`, or until a later price begins."""

    instance_type: str = Field(min_length=1)
    region: str = ""
    purchase_option: str = Field("on_demand", pattern=r"^[a-z_]+$")
    effective_from: Moment = BEGINNING
    effective_to: Moment = ALWAYS
    currency: Currency = "USD"
    price_per_hour: float = Field(ge=0)
    vcpus: float = Field(gt=0)
    memory_gib: float = Field(0, ge=0)

    @property
    def key(self) -> tuple[object, ...]:
        return self.instance_type, self.region, self.purchase_option, self.effective_from

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "Price":
        if self.effective_to <= self.effective_from:
            raise ValueError(f"effective_to {self.effective_to:%Y-%m-%d %H:%M} is not after effective_from")
        return self


class Budget(_Row):
    """What a tenant may cost in a calendar month, and from which share of it on an alert is told."""

    tenant: str = Field(min_length=1)
    currency: Currency = "USD"
    monthly_cost: float = Field(gt=0)
    alert_share: float = Field(0.8, gt=0, le=1)

    @property
    def key(self) -> tuple[object, ...]:
        return self.tenant, self.currency


Kind = TypeVar("Kind", Price, Budget)


def read_file(path: Path, kind: type[Kind]) -> list[Kind]:
    """The rows of a CSV or YAML file. Raises `InvalidFile` with every problem, and `OSError`."""
    rows = _raw(path, "prices" if kind is Price else "budgets")
    found: list[Kind] = []
    problems: list[str] = []
    lines: dict[tuple[object, ...], str] = {}
    for where, raw in rows:
        try:
            row = kind.model_validate(raw)
        except ValidationError as error:
            problems += [
                f"{where}: {'.'.join(map(str, each['loc'])) or 'row'}: {each['msg']} (found {_shown(each)})"
                for each in error.errors()
            ]
            continue
        if row.key in lines:
            problems.append(f"{where}: the same {kind.__name__.lower()} is already given by {lines[row.key]}")
        lines[row.key] = where
        found.append(row)
    if not rows:
        problems.append("there are no rows")
    if len(currencies := {row.currency for row in found}) > 1 and kind is Price:
        problems.append(f"prices in several currencies ({', '.join(sorted(currencies))}) cannot be added up")
    if problems:
        raise InvalidFile("\n".join(f"{path}: {problem}" for problem in problems))
    return found


def load(client: Client, rows: Sequence[Price] | Sequence[Budget], *, replace: bool = False, cluster: str = "") -> None:
    """Write all rows or none; with `replace`, nothing else stays. `cluster` is the one that `migrate` was given.

    Raises `InvalidFile` when the prices would not be in one currency or leave a time without a price of `default`, and
    when budgets are in another currency than the prices.
    """
    prices = [row for row in rows if isinstance(row, Price)]
    problems = _problems_of_book(client, prices, replace) if prices else _problems_of_budgets(client, rows)
    if problems:
        raise InvalidFile("\n".join(problems))
    table = "price_book" if prices else "budgets"
    names = list(type(rows[0]).model_fields)
    values = [[getattr(row, name) for name in names] for row in rows]
    if not replace:
        client.insert(table, values, names)
        return
    before, after = replacement(table, names[0], cluster)
    for statement in before:
        client.command(statement)
    # Every shard has its rows before the tables are exchanged; a single server does not mind the setting.
    client.insert(f"{table}_next", values, names, settings={"distributed_foreground_insert": 1})
    for statement in after:
        client.command(statement)


def replacement(table: str, key: str, cluster: str = "") -> tuple[list[str], list[str]]:
    """Statements that make `<table>_next`, empty and like `table`, and those that put it in the place of `table`.

    Until they are exchanged, `table` is as it was. `key` is its first column, which decides on the shard. In a cluster
    the local tables are exchanged, node by node; a node that is away does it when it comes back.
    """
    new = f"{table}_next"
    if not cluster:
        drop = f"DROP TABLE IF EXISTS {new} SYNC"
        return [drop, f"CREATE TABLE {new} AS {table}"], [f"EXCHANGE TABLES {new} AND {table}", drop]
    on = f"ON CLUSTER `{cluster}`"
    dropped = [f"DROP TABLE IF EXISTS {name} {on} SYNC" for name in (new, new + LOCAL)]
    created = [
        f"CREATE TABLE {new}{LOCAL} {on} AS {table}{LOCAL}",
        distributed(new, cluster, f"({key})"),
    ]
    return [*dropped, *created], [f"EXCHANGE TABLES {new}{LOCAL} AND {table}{LOCAL} {on}", *dropped]


def _problems_of_book(client: Client, prices: Sequence[Price], replace: bool) -> list[str]:
    """What would be wrong with the price book after these prices were loaded."""
    known = [] if replace else _priced(client)
    keys = {price.key for price in prices}
    book = [*prices, *(price for price in known if price.key not in keys)]
    problems = []
    if len(currencies := sorted({price.currency for price in book})) > 1:
        problems.append(
            f"with these prices the book would be in several currencies ({', '.join(currencies)}), which cannot be "
            "added up; --replace loads a book in another currency"
        )
    covered = BEGINNING
    defaults = [price for price in book if price.key[:3] == ("default", "", "on_demand")]
    for price in sorted(defaults, key=lambda price: price.effective_from):
        if price.effective_from > covered:
            break
        covered = max(covered, price.effective_to)
    if covered < ALWAYS:
        problems.append(
            "with these prices the book would have no price of the instance type 'default' (any region, on_demand) "
            f"from {covered:%Y-%m-%d %H:%M} on, so that unknown machines would cost nothing"
        )
    return problems


def _problems_of_budgets(client: Client, rows: Sequence[Price] | Sequence[Budget]) -> list[str]:
    currencies = {price.currency for price in _priced(client)}
    return [
        f"the budget of {row.tenant} is in {row.currency}, but the prices are in {', '.join(sorted(currencies))}"
        for row in rows
        if isinstance(row, Budget) and currencies and row.currency not in currencies
    ]


def _priced(client: Client) -> list[Price]:
    names = list(Price.model_fields)
    found = client.query(
        f"SELECT {', '.join(names)} FROM price_book FINAL", query_tz="UTC", tz_mode="aware"
    ).result_rows
    return [Price.model_construct(None, **dict(zip(names, row, strict=True))) for row in found]


def _raw(path: Path, name: str) -> list[tuple[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(), restkey="more cells than the header has")
        # An empty cell is one that is left out.
        return [
            (f"line {reader.line_num}", {key: cell for key, cell in row.items() if cell not in ("", None)})
            for row in reader
        ]
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidFile(f"{path}: {error}") from error
        if isinstance(document, dict):
            document = document.get(name)
        if not isinstance(document, list):
            raise InvalidFile(f"{path}: neither a list nor a mapping with a list under '{name}'")
        return [(f"entry {number}", row) for number, row in enumerate(document, 1)]
    raise InvalidFile(f"{path}: neither .csv nor .yaml")


def _shown(problem: Any) -> str:
    return "nothing" if problem["type"] == "missing" else repr(problem["input"])[:80]
