"""Reads the body of an Avro record as strictly as ClickHouse does, to find what no server will accept.

fastavro accepts more: numbers of more than ten bytes, symbols of an enum counted from its end, any text as a UUID. What
is found here is certain to be rejected; what is not may be rejected all the same, so ClickHouse decides about that.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

Read = Callable[[bytes, int], tuple[Any, int]]
"""Given the record and where a value begins, the value and where it ends."""

MOST_VARINT_BITS = 70
UUID = re.compile(rb"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Unreadable(ValueError):
    """The text says what is wrong, without a value."""


def fields_of(schema: dict[str, Any]) -> list[tuple[str, Read]]:
    """The fields of a record in their order, each with what reads it.

    A reader raises `Unreadable`, and IndexError at the end of the bytes.
    """
    names: dict[str, Read] = {}
    return [(field["name"], _reader(field["type"], names)) for field in schema["fields"]]


def _reader(schema: Any, names: dict[str, Read]) -> Read:
    if isinstance(schema, list):
        return _union([_reader(each, names) for each in schema])
    if isinstance(schema, str):
        return _PRIMITIVE[schema] if schema in _PRIMITIVE else names[schema]
    kind = schema["type"]
    if kind == "record":
        read = _record([_reader(field["type"], names) for field in schema["fields"]])
    elif kind == "enum":
        read = _enum(len(schema["symbols"]))
    elif kind == "array":
        return _blocks(_reader(schema["items"], names))
    elif kind == "map":
        return _blocks(_record([_text, _reader(schema["values"], names)]))
    elif schema.get("logicalType") == "uuid":
        return _uuid
    else:
        return _reader(kind, names)
    names[schema["name"]] = read
    return read


def _long(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift >= MOST_VARINT_BITS:
            raise Unreadable("a number has more than ten bytes")
    number &= 0xFFFFFFFFFFFFFFFF
    return (number >> 1) ^ -(number & 1), at


def _int(data: bytes, at: int) -> tuple[int, int]:
    number, at = _long(data, at)
    if not -(2**31) <= number < 2**31:
        raise Unreadable("a number has more than 32 bits")
    return number, at


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _long(data, at)
    if length < 0:
        raise Unreadable("a length is negative")
    return _fixed(length)(data, at)


def _uuid(data: bytes, at: int) -> tuple[bytes, int]:
    text, at = _text(data, at)
    if not UUID.fullmatch(text):
        raise Unreadable("an id is no UUID")
    return text, at


def _fixed(size: int) -> Read:
    def read(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end > len(data):
            raise IndexError
        return data[at:end], end

    return read


def _enum(symbols: int) -> Read:
    def read(data: bytes, at: int) -> tuple[int, int]:
        index, at = _long(data, at)
        if not 0 <= index < symbols:
            raise Unreadable("an enum has no such symbol")
        return index, at

    return read


def _union(branches: Sequence[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        index, at = _long(data, at)
        if not 0 <= index < len(branches):
            raise Unreadable("a union has no such branch")
        return branches[index](data, at)

    return read


def _record(fields: Sequence[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[None, int]:
        for field in fields:
            _, at = field(data, at)
        return None, at

    return read


def _blocks(item: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[None, int]:
        while True:
            count, at = _long(data, at)
            if count == 0:
                return None, at
            if count < 0:
                _, at = _long(data, at)
            # Each item takes a byte at least.
            if abs(count) > len(data) - at:
                raise IndexError
            for _ in range(abs(count)):
                _, at = item(data, at)

    return read


def _nothing(data: bytes, at: int) -> tuple[None, int]:
    return None, at


_PRIMITIVE: dict[str, Read] = {
    "null": _nothing,
    "boolean": _fixed(1),
    "int": _int,
    "long": _long,
    "float": _fixed(4),
    "double": _fixed(8),
    "bytes": _text,
    "string": _text,
}
