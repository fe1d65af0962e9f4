"""What becomes of a batch whose insert failed: when it is tried again, and whether it is cut short.

ClickHouse may refuse a batch for its size: for memory, time, or the number of parts. The first half of it is then tried
instead, and the other records go back to be batches of their own. How large batches may be from then on follows from
what was refused; the limit grows again with each insert that succeeds.
"""

import math
from collections.abc import Iterable

import structlog
from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.partitions import SinkPartition
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.writer import RefusedForSize

log = structlog.get_logger("millstream.sink")

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 5.0
GROWTH = 1.02
"""By how much the limit grows with an insert. A cut halves it, so about one of 35 inserts is refused in vain."""

FEWEST_ROWS = 1000
"""What is refused because the tables have too many parts is not cut into smaller batches than this."""

ADVISE_INTERVAL_S = 60.0


class InsertRetries:
    """Used by the poll thread only. `most_bytes`: the largest batch that is to be tried."""

    def __init__(self, config: SinkConfig, topic: str, status: SinkStatus) -> None:
        self.most_bytes = config.max_bytes
        self._config = config
        self._topic = topic
        self._status = status
        self._advised_at = -math.inf

    def due(self, partitions: Iterable[SinkPartition], now: float) -> list[SinkPartition]:
        """The partitions without an insert under way that may have one now. Tries that failed before leave a writer
        to the others, so that batches which ClickHouse never takes do not stop those of other partitions."""
        partitions = list(partitions)
        again = sum(each.insert is not None and each.failures > 0 for each in partitions)
        places = max(1, self._config.parallel_inserts - 1) - again
        found = []
        for each in partitions:
            if each.insert is not None or each.retry_at > now:
                continue
            if each.failures:
                if places <= 0:
                    continue
                places -= 1
            found.append(each)
        return found

    def failed(self, partition: SinkPartition, error: Exception, now: float) -> None:
        """Note that the partition's insert under way failed."""
        partition.insert = None
        partition.failures += 1
        partition.refusals += isinstance(error, DatabaseError | RefusedForSize)
        partition.retry_at = now + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(partition.failures - 1, 6))
        self._status.failed("insert_failed", str(error), partition=partition.number, attempt=partition.failures)
        if self._status.failing_since is None:
            self._status.failing_since = now
        if isinstance(error, RefusedForSize):
            self._refused(partition, error, now)

    def succeeded(self, partition: SinkPartition) -> None:
        """Note that the partition's batch is inserted."""
        partition.failures = partition.refusals = 0
        partition.retry_at = 0.0
        partition.reported.clear()
        self._status.refused.pop(partition.number, None)
        self._status.failing_since = None
        self.most_bytes = min(self._config.max_bytes, math.ceil(self.most_bytes * GROWTH))

    def _refused(self, partition: SinkPartition, error: RefusedForSize, now: float) -> None:
        batch = partition.batch
        assert batch is not None
        cut = error.may_be_cut and len(batch.records) > (2 * FEWEST_ROWS if error.by_parts else 1)
        reason = self._status.refused[partition.number] = self._status.shown(str(error))
        if cut:
            partition.batch, rest = batch.halved()
            partition.buffer.put_back(rest, now)
            if not error.by_parts:
                partition.retry_at = now
            self.most_bytes = max(1, min(self.most_bytes, partition.batch.size))
            self._status.cut_batches += 1
        if now - self._advised_at >= ADVISE_INTERVAL_S:
            self._advised_at = now
            self._advise(partition.number, len(batch.records), batch.size, reason, cut=cut)

    def _advise(self, number: int, rows: int, size: int, reason: str, *, cut: bool) -> None:
        config = self._config
        log.error(
            "batch_refused_for_size",
            topic=self._topic,
            partition=number,
            rows=rows,
            bytes=size,
            reason=reason,
            action="it is inserted in smaller parts"
            if cut
            else "it is tried again as it is: some of it is in ClickHouse already, or it is one record",
            settings=f"sink.max_rows (now {config.max_rows}) and sink.max_bytes (now {config.max_bytes}) of less than "
            "that, or more for the user in ClickHouse: max_memory_usage and max_server_memory_usage for memory, "
            "max_execution_time and clickhouse.query_timeout_s for time, parts_to_throw_insert for parts",
        )
