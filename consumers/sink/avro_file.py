"""Avro data files made of Kafka records without decoding them.

The body of a record in the Confluent wire format is exactly a row of an Avro data file. So a file is a header with the
schema, then one block of records. A record is left unchanged: its wire header is declared as five bytes before the body
that no table has a column for; skipping them costs the reader less than cutting them off would cost here.

Rows follow each other without a length, and whoever wrote a record chose its bytes. So each record stands in a frame:

    start mark, wire header, body, guard, end mark, partition, offset

The start mark is random, new in each file, and the end mark is its reverse. ClickHouse rejects the file unless each row
ends with the reverse of what it began with. The first row begins with the start mark, which no record can contain, as
it is chosen after they were written. Hence a row can end at an end mark of this file and nowhere else, whatever its
body makes the reader do; partition and offset behind it are those written here, and the next row begins with the next
start mark. A row that reaches over the end of its record leaves too few frames for the number of rows that the block
announces. So a file is read as it was built, or not at all.

The guard is constant and has no column. A record that breaks off makes the reader take it for a length or for a branch
of a union, and -1 is neither: it stops there, rather than reserve the memory that random bytes would ask for.
"""

import hashlib
import io
import json
import secrets
from collections.abc import Sequence
from typing import Any

import fastavro

HEADER_BYTES = 5
"""Magic byte and schema id before the body of each record."""

MARK_BYTES = 16

GUARD = b"\x01" * 4
"""The number -1, four times."""

MARK: dict[str, Any] = {"type": "fixed", "name": "Mark", "size": MARK_BYTES}

FIELDS_BEFORE: list[dict[str, Any]] = [
    {"name": "frame_start", "type": MARK},
    {"name": "wire_header", "type": {"type": "fixed", "name": "WireHeader", "size": HEADER_BYTES}},
]

FIELDS_AFTER: list[dict[str, Any]] = [
    {"name": "guard", "type": {"type": "fixed", "name": "Guard", "size": len(GUARD)}},
    {"name": "frame_end", "type": "Mark"},
    {"name": "kafka_partition", "type": "int"},
    {"name": "read_offset", "type": "long"},
]

FRAME_COLUMNS = frozenset({"frame_start", "frame_end"})
"""Columns by which a landing table checks the frames."""


class AvroFile:
    """Makes data files of one schema. Thread-safe."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """`schema` is the one that the records were written with."""
        self.schema = schema
        text = json.dumps({**schema, "fields": [*FIELDS_BEFORE, *schema["fields"], *FIELDS_AFTER]})
        meta = io.BytesIO()
        fastavro.schemaless_writer(
            meta,
            fastavro.parse_schema({"type": "map", "values": "bytes"}),
            {"avro.schema": text.encode(), "avro.codec": b"null"},
        )
        self.body_fields: list[str] = [field["name"] for field in schema["fields"]]
        self.field_names = ["frame_start", *self.body_fields, "frame_end", "kafka_partition", "read_offset"]
        self._sync = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        self._header = b"Obj\x01" + meta.getvalue() + self._sync

    def build(
        self, partition: int, offsets: Sequence[int], values: Sequence[bytes], start_mark: bytes | None = None
    ) -> bytes:
        """The file of these records; each value is header and body as on the wire. `start_mark`: random unless given;
        the same records with the same mark give the same bytes."""
        if not values:
            return self._header
        start = start_mark or new_mark()
        # A varint begins with the lowest bits; 64 neighbouring offsets differ only in them and share the rest.
        place = GUARD + start[::-1] + varint(partition)
        places = [place + bytes([low << 1 | 0x80]) for low in range(64)]
        rests = _Rests(start)
        rows = [b""] * (2 * len(values))
        rows[::2] = values
        rows[1::2] = [places[offset & 63] + rests[offset >> 6] for offset in offsets]
        rows[-1] = rows[-1][:-MARK_BYTES]
        size = MARK_BYTES + sum(map(len, rows))
        return b"".join((self._header, varint(len(values)), varint(size), start, *rows, self._sync))


def new_mark() -> bytes:
    """A start mark that nobody can foresee and that is not its own reverse."""
    while (mark := secrets.token_bytes(MARK_BYTES)) == mark[::-1]:
        pass
    return mark


class _Rests(dict[int, bytes]):
    """The bytes after the lowest six bits of an offset: its higher bits, then the start mark of the next record."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self._start = start

    def __missing__(self, high: int) -> bytes:
        self[high] = rest = _unsigned(high) + self._start
        return rest


def varint(number: int) -> bytes:
    """`number` as Avro writes ints and longs: zigzag, then seven bits a byte, low bits first."""
    return _unsigned((number << 1) ^ (number >> 63))


def _unsigned(rest: int) -> bytes:
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
