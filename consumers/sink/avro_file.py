"""Avro data files made of Kafka records without decoding them.

The body of a record in the Confluent wire format is exactly a row of an Avro data file. So a file is a header with the
schema, then one block of records, each followed by three fields: partition, offset, and a fixed mark. A record is left
unchanged: its wire header is declared as five bytes before the body that no table has a column for; skipping them costs
the reader less than cutting them off would cost here. Rows follow each other without a frame: a body that is longer or
shorter than its schema says shifts everything behind it, and the reader does not find the mark.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro

HEADER_BYTES = 5
"""Magic byte and schema id before the body of each record."""

RECORD_END = b"MILLSTRM"

WIRE_FIELD: dict[str, Any] = {
    "name": "wire_header",
    "type": {"type": "fixed", "name": "WireHeader", "size": HEADER_BYTES},
}

ADDED_FIELDS: list[dict[str, Any]] = [
    {"name": "kafka_partition", "type": "int"},
    {"name": "read_offset", "type": "long"},
    {"name": "record_end", "type": {"type": "fixed", "name": "RecordEnd", "size": len(RECORD_END)}},
]


class AvroFile:
    """Makes data files of one schema. The same records always give the same bytes. Thread-safe."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """`schema` is the one that the records were written with."""
        text = json.dumps({**schema, "fields": [WIRE_FIELD, *schema["fields"], *ADDED_FIELDS]})
        meta = io.BytesIO()
        fastavro.schemaless_writer(
            meta,
            fastavro.parse_schema({"type": "map", "values": "bytes"}),
            {"avro.schema": text.encode(), "avro.codec": b"null"},
        )
        self.field_names = [field["name"] for field in schema["fields"]] + [field["name"] for field in ADDED_FIELDS]
        self._sync = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        self._header = b"Obj\x01" + meta.getvalue() + self._sync

    def build(self, partition: int, offsets: Sequence[int], values: Sequence[bytes]) -> bytes:
        """The file of these records; each value is header and body as on the wire."""
        if not values:
            return self._header
        # A varint begins with the lowest bits; 64 neighbouring offsets differ only in them and share the rest.
        number = varint(partition)
        starts = [number + bytes([low << 1 | 0x80]) for low in range(64)]
        ends = _Ends()
        rows = [b""] * (2 * len(values))
        rows[::2] = values
        rows[1::2] = [starts[offset & 63] + ends[offset >> 6] for offset in offsets]
        size = sum(map(len, rows))
        return b"".join((self._header, varint(len(values)), varint(size), *rows, self._sync))


class _Ends(dict[int, bytes]):
    """The bytes after the lowest six bits of an offset: its higher bits, then the mark."""

    def __missing__(self, high: int) -> bytes:
        self[high] = end = _unsigned(high) + RECORD_END
        return end


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
