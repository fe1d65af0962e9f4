"""Values of dataclasses made from their types, with a text of the test's in every field that holds text."""

import enum
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)


def planted(kind: Any, text: str, given: Mapping[str, object] | None = None) -> Any:
    """A value of type `kind` with `text` wherever text may be; lists have two elements, numbers are small.

    `given`: values of fields of that name, at any depth.
    """
    given = given or {}
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(
            **{
                each.name: given[each.name] if each.name in given else planted(hints[each.name], text, given)
                for each in fields(kind)
                if each.init
            }
        )
    if origin in (types.UnionType, typing.Union):
        return planted(inside[0], text, given)
    if origin is typing.Literal:
        return inside[0]
    if origin in (list, Sequence):
        return [planted(inside[0], text, given) for _ in range(2)]
    if origin is tuple:
        of = inside[:1] * 2 if Ellipsis in inside else inside
        return tuple(planted(each, text, given) for each in of)
    if origin in (dict, Mapping):
        return {planted(inside[0], text, given): planted(inside[1], text, given)}
    return _plain(kind, text)


def _plain(kind: Any, text: str) -> Any:
    values: dict[Any, Any] = {
        str: text,
        int: 3,
        float: 0.5,
        bool: True,
        datetime: AT,
        timedelta: timedelta(minutes=1),
        UUID: UUID(int=1),
        type(None): None,
    }
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    return values[kind]
