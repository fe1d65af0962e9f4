"""From a payload to the bytes that are sent, or the path to what cannot be sent.

JSON has no NaN and no infinity. pydantic writes them as null, as text or as words that other readers refuse; each would
reach the handler as something else than what was submitted, so they are refused.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

_WORDS = (b"NaN", b"Infinity", b"null")
"""What a number that is not finite may be in JSON as pydantic writes it; other values look like that too."""

MOST_VALUES = 1_000_000
"""Values that are searched for the one that cannot be sent."""

LONGEST_PATH = 200
"""Characters of a path that a message shows."""

Path = tuple[str, ...]


class UnsendablePayload(ValueError):
    """The payload has no JSON. The message names the path to the value, and why."""


def encode_payload(payload: Any) -> tuple[bytes, str]:
    """The payload as it is sent, and its media type. Raises `UnsendablePayload`."""
    if isinstance(payload, bytes):
        return payload, "application/octet-stream"
    try:
        if isinstance(payload, BaseModel):
            encoded = payload.model_dump_json().encode()
        else:
            encoded = to_json(payload, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise UnsendablePayload(_explain(payload, str(error))) from error
    if any(word in encoded for word in _WORDS) and (path := _find(payload, _is_not_finite)) is not None:
        raise UnsendablePayload(f"{_text(path)} is not a finite number, and JSON has no other; use None or a text")
    return encoded, "application/json"


def _explain(payload: Any, problem: str) -> str:
    """The path to the first value that cannot be written by itself, and why."""
    path = _find(payload, _is_unwritable)
    return f"{_text(path or ())} cannot be written as JSON: {problem}"


def _find(payload: Any, wrong: Callable[[Any], bool]) -> Path | None:
    """The path to the first value that is `wrong`; None when there is none."""
    waiting: list[tuple[Path, Any, frozenset[int]]] = [((), payload, frozenset())]
    for _ in range(MOST_VALUES):
        if not waiting:
            return None
        path, value, around = waiting.pop()
        if isinstance(value, Enum):
            value = value.value
        if id(value) in around or len(path) > 1_000:
            # It contains itself, or as good as that.
            return path
        if wrong(value):
            return path
        inside = [((*path, name), each, around | {id(value)}) for name, each in _members(value)]
        waiting += reversed(inside)
    return None


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        yield from value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((each.name, getattr(value, each.name, None)) for each in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield str(name), each
            if not isinstance(name, str) or _is_unwritable(name):
                yield f"{name} (its name)", name
    elif isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray)):
        yield from ((str(place), each) for place, each in enumerate(value))


def _is_not_finite(value: Any) -> bool:
    if isinstance(value, Decimal):
        return not value.is_finite()
    return isinstance(value, float) and not math.isfinite(value)


def _is_unwritable(value: Any) -> bool:
    """Whether a value that contains no others cannot be written."""
    if next(_members(value), None) is not None:
        return False
    try:
        to_json(value)
    except (PydanticSerializationError, ValueError, RecursionError):
        return True
    return False


def _text(path: Path) -> str:
    text = json.dumps(".".join(("payload", *path)), ensure_ascii=True)[1:-1]
    return text if len(text) <= LONGEST_PATH else f"{text[:LONGEST_PATH]}..."
