"""Avro data files made of Kafka records without decoding them.

The body of a record in the Confluent wire format is exactly a row of an Avro data file. So a file is: a header with the
schema, then one block of bodies, each followed by three fields of ours that the file's schema declares last: partition,
offset, and a fixed mark. Rows follow each other without a frame: a body that is longer or shorter than its schema says
would shift everything behind it, and the reader finds something else than the mark.
"""

import hashlib
import io
import json
from collections.abc import Iterable
from typing import Any

import fastavro

HEADER_BYTES = 5
"""Magic byte and schema id before the body of each record."""

RECORD_END = b"MILLSTRM"

OUR_FIELDS: list[dict[str, Any]] = [
    {"name": "kafka_partition", "type": "int"},
    {"name": "read_offset", "type": "long"},
    {"name": "record_end", "type": {"type": "fixed", "name": "RecordEnd", "size": len(RECORD_END)}},
]


class AvroFile:
    """Makes data files of one schema. The same records always give the same bytes. Thread-safe."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """`schema` is the one that the records were written with."""
        text = json.dumps({**schema, "fields": [*schema["fields"], *OUR_FIELDS]})
        meta = io.BytesIO()
        fastavro.schemaless_writer(
            meta,
            fastavro.parse_schema({"type": "map", "values": "bytes"}),
            {"avro.schema": text.encode(), "avro.codec": b"null"},
        )
        self.field_names = [field["name"] for field in schema["fields"]] + [field["name"] for field in OUR_FIELDS]
        self._sync = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        self._header = b"Obj\x01" + meta.getvalue() + self._sync

    def build(self, partition: int, records: Iterable[tuple[int, bytes]]) -> bytes:
        """The file of these (offset, value) pairs; each value is header and body as on the wire."""
        # A varint begins with the lowest bits; neighbouring offsets differ in nothing else, so 64 of them share an end.
        number = varint(partition)
        starts = [number + bytes([low << 1 | 0x80]) for low in range(64)]
        ends: dict[int, bytes] = {}
        pieces: list[bytes] = []
        add = pieces.append
        for offset, value in records:
            high = offset >> 6
            if high not in ends:
                ends[high] = _unsigned(high) + RECORD_END
            add(value[HEADER_BYTES:])
            add(starts[offset & 63] + ends[high] if high else number + varint(offset) + RECORD_END)
        if not pieces:
            return self._header
        size = sum(map(len, pieces))
        return b"".join((self._header, varint(len(pieces) // 2), varint(size), *pieces, self._sync))


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
