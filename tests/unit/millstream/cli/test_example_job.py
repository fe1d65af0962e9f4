"""The job that `millstream up` suggests: its handler accepts it."""

import enum
from datetime import datetime
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field

from millstream import JobContext, JobTypes
from millstream.cli.example_job import example_job


class Colour(enum.Enum):
    RED = "red"


class Line(BaseModel):
    sku: str = Field(min_length=9, max_length=12)
    count: int = Field(gt=3, le=5)


class Order(BaseModel):
    order: int
    colour: Colour
    mode: Literal["fast"]
    at: datetime
    lines: list[Line] = Field(min_length=2)
    note: str | None
    rebate: float = Field(lt=0.5, ge=0)
    parent: "Order | None" = None


def never(value: str) -> str:
    raise ValueError("no value is good")


class Impossible(BaseModel):
    value: Annotated[str, AfterValidator(never)]


def of(payload: type, *, also: bool = False) -> JobTypes:
    types = JobTypes()

    @types.job("shop.handle")
    async def handle(payload: payload, context: JobContext) -> None: ...  # type: ignore[valid-type]

    if also:

        @types.job("zzz.later")
        async def later(payload: Order) -> None: ...

    return types


@pytest.mark.parametrize("model", [Order, Line, int, str, list[int], dict[str, int], bool])
def test_the_suggested_payload_is_accepted_by_the_handler(model: type) -> None:
    types = of(model)
    name, payload = example_job(types)
    job_type = types.get(name)
    assert job_type is not None and job_type.payload is not None
    job_type.payload.validate_python(payload) if model is not Order else Order.model_validate(payload)


def test_a_type_without_an_acceptable_example_is_suggested_only_when_there_is_no_other() -> None:
    assert example_job(of(Impossible)) == ("shop.handle", None)
    assert example_job(of(Impossible, also=True))[0] == "zzz.later"


def test_a_handler_without_a_payload_is_suggested_without_one() -> None:
    types = JobTypes()

    @types.job("nightly.clean")
    async def clean() -> None: ...

    assert example_job(types) == ("nightly.clean", None)
