"""Records that ClickHouse will hardly accept, as far as Python can tell: so that a flood of them need not be searched
for one by one."""

import io
import time
from typing import Any

import fastavro

from millstream.consumers.sink.avro_file import HEADER_BYTES

DAY_US = 86_400_000_000
OLDEST_DAYS, NEWEST_DAYS = 400, 100
"""The bounds of `0041_bounded_days.sql`."""


class Doubts:
    """About the records of one schema. `dated`: whether their table has bounds for `occurred_at`."""

    def __init__(self, schema: dict[str, Any], *, dated: bool) -> None:
        self._schema: Any = fastavro.parse_schema(_plain(schema))
        self._dated = dated

    def reason(self, value: bytes) -> str | None:
        """Why the record is doubtful; None when nothing is wrong with it."""
        body = io.BytesIO(value)
        body.seek(HEADER_BYTES)
        try:
            found: Any = fastavro.schemaless_reader(body, self._schema, None, handle_unicode_errors="replace")
        except Exception as error:
            return f"the record cannot be decoded: {type(error).__name__}"
        if body.tell() != len(value):
            return "the record is longer than its schema says"
        if self._dated:
            ahead_us = found["occurred_at"] - time.time() * 1e6
            if not -OLDEST_DAYS * DAY_US <= ahead_us <= NEWEST_DAYS * DAY_US:
                return f"occurred_at is more than {OLDEST_DAYS} days ago or more than {NEWEST_DAYS} days ahead"
        return None


def _plain(schema: Any) -> Any:
    """The schema without logical types: numbers stay numbers, whatever date they would be."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {name: _plain(each) for name, each in schema.items() if name != "logicalType"}
    return schema
