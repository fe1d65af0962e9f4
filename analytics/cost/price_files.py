"""Prices and budgets in CSV or YAML files, checked as a whole.

A CSV file has a header with the field names; a YAML file is a list of mappings, or a mapping with such a list under
`prices` or `budgets`. A date without a time is midnight UTC.
"""

import csv
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ALWAYS = datetime(2106, 1, 1, tzinfo=UTC)
"""The last year of ClickHouse's DateTime: the end of a price that has none."""


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
    # Compare before the conversion to UTC, which fails for the first and the last day that Python knows.
    if not BEGINNING <= moment <= ALWAYS:
        raise ValueError("not between 1970 and 2106")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_utc)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class Price(_Row):
    """Price of a machine per hour, from `effective_from` until `effective_to`, or until a later price begins."""

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
    """What a tenant may cost in a calendar month, and the share of it from which on an alert is sent."""

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


def _raw(path: Path, name: str) -> list[tuple[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(), restkey="more cells than the header has")
        # An empty cell means that the field is absent.
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
