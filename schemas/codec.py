"""Bytes <-> model in the Confluent wire format: a zero byte, the schema id in four bytes, the Avro body."""

import io
import struct
from functools import cache
from typing import Any, TypeVar

import fastavro
from pydantic import ValidationError

from millstream.schemas.record import Record
from millstream.schemas.registry import PinnedRegistry, Registry, Schema, UnknownSchema, current_schema

HEADER = struct.Struct(">bI")
"""Magic byte and schema id."""

MESSAGE_LENGTH = 500
"""Characters of what fastavro says: it may show both schemas whole."""

R = TypeVar("R", bound=Record)


class DecodeError(ValueError):
    """A record that cannot be decoded. The message says what is wrong, and at which byte where that is known."""


class Codec:
    """Encodes and decodes records. Thread-safe; one a process is enough."""

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry: Registry = registry or PinnedRegistry()
        self._headers: dict[str, bytes] = {}
        self._ids: dict[str, int] = {}
        self._writers: dict[int, Any] = {}
        self._plain_writers: dict[int, Any] = {}

    def header(self, record: str) -> bytes:
        """The five bytes before the Avro body of a record of this name."""
        if record not in self._headers:
            self._headers[record] = HEADER.pack(0, self._id_of(record))
        return self._headers[record]

    def encode(self, record: Record) -> bytes:
        name = type(record).__name__
        out = io.BytesIO()
        out.write(self.header(name))
        fastavro.schemaless_writer(out, reader_schema(name), _as_datum(record))
        return out.getvalue()

    def decode(self, data: bytes | None, model: type[R]) -> R:
        """The record in `data`, whatever released schema it was written with.

        Raises `DecodeError`, and `RegistryUnavailable` when the record may well be valid. When only a newer release can
        read it, the cause of the `DecodeError` is a `NewerSchema`.
        """
        schema_id = schema_id_of(data)
        writer = self._writer(schema_id)
        body = io.BytesIO(data or b"")
        body.seek(HEADER.size)
        try:
            datum = fastavro.schemaless_reader(body, writer, reader_schema(model.__name__))
            return model.model_validate(datum)
        except ValidationError as error:
            problem = f"{model.__name__}.{_first_problem(error)}"
        except Exception as error:
            # fastavro raises whatever its C code ran into: EOFError, IndexError, UnicodeDecodeError...
            problem = (
                f"not a {model.__name__} (schema id {schema_id}): {type(error).__name__} at byte {body.tell()}: "
                f"{str(error)[:MESSAGE_LENGTH]}"
            )
        # Not from the error, whose traceback holds the record in a reference cycle: a worker collects those rarely.
        raise DecodeError(problem)

    def fields(self, data: bytes | None, record: str) -> dict[str, Any]:
        """The fields of a record of this name as they are on the wire: not validated, times in microseconds since 1970.
        Takes half of `decode`'s time. Raises what `decode` does."""
        schema_id = schema_id_of(data)
        reader = plain_schema(record)
        if schema_id == self._id_of(record):
            writer, reader = reader, None
        else:
            writer = self._plain_writer(schema_id)
        body = io.BytesIO(data or b"")
        body.seek(HEADER.size)
        try:
            found: dict[str, Any] = fastavro.schemaless_reader(body, writer, reader)  # type: ignore[assignment]
        except Exception as error:
            raise DecodeError(
                f"not a {record} (schema id {schema_id}): {type(error).__name__} at byte {body.tell()}: {error}"
            ) from error
        return found

    def encode_fields(self, fields: dict[str, Any], record: str) -> bytes:
        """The record of these fields, times in microseconds since 1970."""
        out = io.BytesIO()
        out.write(self.header(record))
        fastavro.schemaless_writer(out, plain_schema(record), fields)
        return out.getvalue()

    def _id_of(self, record: str) -> int:
        if record not in self._ids:
            self._ids[record] = self.registry.id_of(record)
        return self._ids[record]

    def _plain_writer(self, schema_id: int) -> Any:
        """As `_writer`, without logical types."""
        if schema_id not in self._plain_writers:
            self._plain_writers[schema_id] = fastavro.parse_schema(_without_logical_types(self._writer(schema_id)))
        return self._plain_writers[schema_id]

    def _writer(self, schema_id: int) -> Any:
        """The schema that records with this id were written with."""
        if schema_id not in self._writers:
            try:
                schema = self.registry.schema_of(schema_id)
            except UnknownSchema as error:
                raise DecodeError(str(error)) from error
            try:
                self._writers[schema_id] = parse(schema)
            except Exception as error:
                # Whatever fastavro raised: anybody may register a schema.
                raise DecodeError(f"schema id {schema_id}: {type(error).__name__}: {error}") from error
        return self._writers[schema_id]


def _first_problem(error: ValidationError) -> str:
    """Where the first problem is and what it is, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"


def schema_id_of(data: bytes | None) -> int:
    """The schema id that a record names. Raises `DecodeError` when `data` is not in the wire format."""
    if data is None or len(data) < HEADER.size:
        raise DecodeError(f"{0 if data is None else len(data)} bytes are too few for the five-byte header")
    magic, schema_id = HEADER.unpack_from(data)
    if magic != 0:
        raise DecodeError(f"the first byte is {data[0]:#04x}, not the magic byte 0x00")
    return int(schema_id)


@cache
def reader_schema(record: str) -> Any:
    """The parsed current schema of a record, ids as plain strings."""
    return parse(current_schema(record))


@cache
def plain_schema(record: str) -> Any:
    """The parsed current schema of a record without logical types: ids are strings, times whole microseconds."""
    return fastavro.parse_schema(_without_logical_types(current_schema(record)))


def parse(schema: Schema) -> Any:
    """A schema for fastavro. Ids stay strings: the `uuid` type would make an object of each without need."""
    return fastavro.parse_schema(_without_uuid(schema))


def _without_uuid(node: Any) -> Any:
    if isinstance(node, dict):
        if node.get("logicalType") == "uuid":
            return "string"
        return {key: _without_uuid(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_uuid(item) for item in node]
    return node


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        if "logicalType" in node:
            return node["type"]
        return {key: _without_logical_types(value) for key, value in node.items() if not key.startswith("__")}
    if isinstance(node, list):
        return [_without_logical_types(item) for item in node]
    return node


def _as_datum(record: Record) -> dict[str, Any]:
    """The record's fields; only a list of records inside it must be converted."""
    datum = record.__dict__
    for value in datum.values():
        if isinstance(value, list) and value and isinstance(value[0], Record):
            return record.model_dump()
    return datum
