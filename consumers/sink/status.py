"""What one sink has done so far. Written by its threads, read by any."""

import time

import structlog

from millstream.line_rate import LineRate
from millstream.redaction import Redaction

log = structlog.get_logger("millstream.sink")

REASON_LIMIT = 500
"""Characters of a reason. ClickHouse says first what is wrong, and may repeat values of the records behind it."""

TELL_INTERVAL_S = 60.0
"""How often the same failure is logged."""


class SinkStatus:
    """Counters of one sink.

    `repeated_batches`: batches that an earlier owner had announced and this one inserted again. `records_missing`:
    offsets that were deleted or truncated before they were read. `last_error`: why the newest try failed; empty once a
    batch is inserted. `held`: the partitions that wait at a record which cannot be inserted yet, with its offset and
    the cause. `cut_batches`: batches that were cut short because ClickHouse refused them for their size. `refused`: the
    partitions whose batch ClickHouse refuses for its size at the moment, with its answer. `fields_left_out`: fields of
    records for which the tables have no column. `polled_at`: when the poll thread last went round;
    `failing_since`: since when every insert fails; both in monotonic seconds. `assigned`: the group has given it its
    partitions. `kafka_answers`: a broker is connected.
    """

    def __init__(self, redaction: Redaction | None = None) -> None:
        """`redaction` is applied to reasons, which quote ClickHouse."""
        self._redact = redaction or Redaction()
        self.rows_read = 0
        self.rows_inserted = 0
        self.batches = 0
        self.dead_records = 0
        self.repeated_batches = 0
        self.records_missing = 0
        self.last_error = ""
        self.held: dict[int, str] = {}
        self.cut_batches = 0
        self.refused: dict[int, str] = {}
        self.fields_left_out = 0
        self.polled_at = time.monotonic()
        self.failing_since: float | None = None
        self.assigned = False
        self.kafka_answers = False
        self._lines = LineRate(TELL_INTERVAL_S)

    def forget(self, partition: int) -> None:
        """What held this partition up no longer concerns this sink."""
        self.held.pop(partition, None)
        self.refused.pop(partition, None)

    def goes_round(self) -> None:
        """Note that the poll thread works."""
        self.polled_at = time.monotonic()

    def failed(self, event: str, reason: str, **details: object) -> None:
        """Note a failed try, and log it unless it failed like this within the last minute. `event`: a constant name,
        such as `insert_failed`."""
        reason = self.shown(reason)
        self.last_error = f"{event}: {reason}"
        left_out = self._lines.admit((event, reason, details.get("partition")))
        if left_out is not None:
            log.warning(event, reason=reason, **details, left_out=left_out)

    def shown(self, reason: str) -> str:
        """What may be written of a reason: in dead letters, in the log and by the endpoints."""
        return self._redact.cut(reason, REASON_LIMIT)
