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
from functools import lru_cache
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
        number = varint(partition)
        rows = [value[HEADER_BYTES:] + number + _offset(offset) + RECORD_END for offset, value in records]
        if not rows:
            return self._header
        size = sum(map(len, rows))
        return b"".join((self._header, varint(len(rows)), varint(size), *rows, self._sync))


def varint(number: int) -> bytes:
    """`number` as Avro writes ints and longs: zigzag, then seven bits a byte, low bits first."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _offset(offset: int) -> bytes:
    # Neighbouring offsets differ in the lowest byte only.
    return varint(offset) if offset < 64 else _LOW[offset & 0x3F] + _high(offset >> 6)


_LOW = [bytes([(low << 1) | 0x80]) for low in range(64)]


@lru_cache(maxsize=4096)
def _high(high: int) -> bytes:
    out = bytearray()
    while high > 0x7F:
        out.append((high & 0x7F) | 0x80)
        high >>= 7
    out.append(high)
    return bytes(out)
