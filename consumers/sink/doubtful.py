"""Records that ClickHouse will not accept, as far as Python can tell: so that a flood of them need not be searched for
one by one."""

import time
from typing import Any

from millstream.consumers.sink.avro_file import HEADER_BYTES
from millstream.consumers.sink.strict_reader import Unreadable, fields_of

DAY_US = 86_400_000_000
OLDEST_DAYS, NEWEST_DAYS = 400, 100
"""The bounds of `0041_bounded_days.sql`."""


class Doubts:
    """About the records of one schema. `dated`: whether their table has bounds for `occurred_at`."""

    def __init__(self, schema: dict[str, Any], *, dated: bool) -> None:
        self._fields = fields_of(schema)
        self._dated = dated

    def reason(self, value: bytes) -> str | None:
        """Why the record is doubtful; None when nothing is wrong with it."""
        at, reason = HEADER_BYTES, None
        try:
            for name, read in self._fields:
                found, at = read(value, at)
                if self._dated and name == "occurred_at":
                    reason = _wrong_date(found)
        except IndexError:
            return "the record ends too early"
        except Unreadable as error:
            return str(error)
        return reason if at == len(value) else "the record is longer than its schema says"


def _wrong_date(occurred_us: int) -> str | None:
    ahead_us = occurred_us - time.time() * 1e6
    if -OLDEST_DAYS * DAY_US <= ahead_us <= NEWEST_DAYS * DAY_US:
        return None
    return f"occurred_at is more than {OLDEST_DAYS} days ago or more than {NEWEST_DAYS} days ahead"
