"""Some fields of an Avro record as bytes, fast, when most of them are what they always are.

An Avro body is its fields one after the other, so a record that differs from the usual one in a few fields is the usual
pieces with those few replaced. fastavro writes the usual ones, once; the few are written here, a third of a microsecond
each. A test holds the two to the same bytes.
"""

import io
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro

Encoder = Callable[[Any], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DOUBLE = struct.Struct("<d")
_SMALL = tuple(bytes([number << 1]) for number in range(64))


class AvroPart:
    """Encodes records of a schema. `usual` are the values that fields have unless they are given.

    Raises KeyError for a name that the schema does not have.
    """

    def __init__(self, schema: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
        fields = schema["fields"]
        self._places = {field["name"]: (at, _encoder(field["type"])) for at, field in enumerate(fields)}
        self._usual = [_usual_bytes(field, usual) for field in fields]

    def encode(self, given: Mapping[str, Any]) -> bytes:
        """The bytes of a record with these values, and the usual ones for the rest."""
        pieces = self._usual.copy()
        for name, value in given.items():
            at, encode = self._places[name]
            pieces[at] = encode(value)
        return b"".join(pieces)


def long(number: int) -> bytes:
    """Zigzag and variable length, as Avro writes every whole number."""
    if 0 <= number < 64:
        return _SMALL[number]
    number = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def _usual_bytes(field: Mapping[str, Any], usual: Mapping[str, Any]) -> bytes:
    name = field["name"]
    if name not in usual and "default" not in field:
        # It must be given each time.
        return b""
    out = io.BytesIO()
    value = usual.get(name, field.get("default"))
    fastavro.schemaless_writer(out, fastavro.parse_schema(field["type"]), value)
    return out.getvalue()


def _encoder(kind: Any) -> Encoder:
    """How to write a value of this Avro type."""
    if isinstance(kind, list):
        return _optional(kind)
    name = kind["type"] if isinstance(kind, dict) else kind
    if isinstance(kind, dict) and kind.get("logicalType") == "timestamp-micros":
        return lambda moment: long(microseconds(moment))
    if name == "enum":
        return {symbol: long(at) for at, symbol in enumerate(kind["symbols"])}.__getitem__
    if name in _PRIMITIVES:
        return _PRIMITIVES[name]
    parsed = fastavro.parse_schema(kind)

    def general(value: Any) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        return out.getvalue()

    return general


def _optional(kinds: list[Any]) -> Encoder:
    null, (other,) = kinds.index("null"), [kind for kind in kinds if kind != "null"]
    nothing, something, encode = long(null), long(1 - null), _encoder(other)
    return lambda value: nothing if value is None else something + encode(value)


def _string(text: str) -> bytes:
    data = text.encode()
    return long(len(data)) + data


_PRIMITIVES: dict[str, Encoder] = {
    "string": _string,
    "bytes": lambda data: long(len(data)) + data,
    "int": long,
    "long": long,
    "double": _DOUBLE.pack,
    "boolean": lambda truth: b"\x01" if truth else b"\x00",
}
