"""Records of one partition, as columns.

Hundreds of thousands of records may wait here. Three lists of plain values cost the least memory, the garbage collector
does not scan their items, and what is done to all of them takes a call or two for the whole column.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from millstream.consumers.sink.avro_file import HEADER_BYTES

Record = tuple[int, bytes | None, bytes | None]
"""Offset, key and value of one Kafka record."""


@dataclass(slots=True)
class Records:
    """In offset order; the columns are of one length."""

    offsets: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[Record]) -> Self:
        records = cls()
        for offset, key, value in rows:
            records.offsets.append(offset)
            records.keys.append(key)
            records.values.append(value)
        return records

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[Record]:
        return zip(self.offsets, self.keys, self.values, strict=True)

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return sum(map(len, filter(None, self.values))) + sum(map(len, filter(None, self.keys)))

    @property
    def headers(self) -> frozenset[bytes]:
        """The distinct wire headers, which name the schemas; nearly always one."""
        return frozenset([value[:HEADER_BYTES] if value else b"" for value in self.values])

    def first_with(self, headers: Container[bytes]) -> tuple[int, bytes]:
        """The index of the first record with one of these wire headers, and its header. There must be one."""
        found = ((index, value[:HEADER_BYTES] if value else b"") for index, value in enumerate(self.values))
        return next((index, header) for index, header in found if header in headers)

    def extend(self, others: "Records") -> None:
        self.offsets += others.offsets
        self.keys += others.keys
        self.values += others.values

    def by_header(self) -> dict[bytes, "Records"]:
        """The records of each wire header, in the order of first occurrence."""
        found: dict[bytes, Records] = {}
        for offset, key, value in self:
            records = found.setdefault(value[:HEADER_BYTES] if value else b"", Records())
            records.offsets.append(offset)
            records.keys.append(key)
            records.values.append(value)
        return found

    def part(self, start: int, end: int | None = None) -> "Records":
        """The records from index `start` to before index `end`."""
        return Records(self.offsets[start:end], self.keys[start:end], self.values[start:end])
