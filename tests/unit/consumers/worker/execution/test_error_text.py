"""An error message names the field and the problem, and holds nothing of the payload."""

from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ValidationError

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.registry import describe
from millstream.schemas import DeadReason

SECRET = "hunter2"


class Order(BaseModel):
    card: int
    items: list[int] = []


@dataclass
class Plain:
    card: int


def order(payload: Order) -> None:
    """Takes a model."""


def plain(payload: Plain) -> None:
    """Takes a dataclass."""


def mapping(payload: dict[str, int]) -> None:
    """Takes a dictionary."""


@pytest.mark.parametrize("handler", [order, plain, mapping])
@pytest.mark.parametrize(
    "payload",
    [
        b'{"card": "hunter2"}',
        b'{"card": "hunter2, input_type=str] hunter2"}',
        b'{"card": {"deep": "hunter2"}}',
        b'"hunter2"',
        b"hunter2",
    ],
)
def test_a_payload_that_a_handler_does_not_accept_is_no_part_of_its_error(handler: object, payload: bytes) -> None:
    with pytest.raises(ValidationError) as raised:
        describe("orders.pay", handler).arguments(payload, None)  # type: ignore[arg-type]
    error = outcome.rejected(DeadReason.INVALID_PAYLOAD, raised.value).error
    assert SECRET not in " ".join(error.values())
    assert error["error_type"] == "ValidationError" and "[type=" in error["error_message"]
    if payload.startswith(b'{"card"'):
        assert "card" in error["error_message"]


def test_a_validation_error_inside_a_handler_shows_no_input_either_in_message_or_stack() -> None:
    def handler() -> None:
        try:
            Order.model_validate({"card": SECRET, "items": [SECRET]})
        except ValidationError as cause:
            raise RuntimeError(f"cannot read the order: {cause}") from cause

    with pytest.raises(RuntimeError) as raised:
        handler()
    error = outcome.failed(raised.value).error
    assert SECRET not in " ".join(error.values())
    assert "items.0" in error["error_message"] and "items.0" in error["stack"]
