"""The life of a batch [a, b) of a partition: announced, inserted, acknowledged.

1. The poll thread commits offset a with the metadata "until b" (`intent.py`). This also acknowledges the batch before.
2. A writer thread inserts it under a token made of topic, partition, a and b, as often as it takes.
3. The next batch's commit, or a plain commit at b when the partition has no next batch, acknowledges it.

A try that failed waits without a thread and is announced again before the next one. A batch that ClickHouse refuses for
its size is announced and inserted in halves of halves (`insert_retries.py`).
"""

import itertools
import math
import time
from collections.abc import Collection
from concurrent.futures import Executor

import structlog

from millstream.consumers.sink.batch import BatchLimits, InsertBatch
from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.dead_letters import DeadLetterSender
from millstream.consumers.sink.holds import Holds
from millstream.consumers.sink.insert_order import order_inserts
from millstream.consumers.sink.insert_retries import InsertRetries
from millstream.consumers.sink.partitions import SinkCommits, SinkPartition
from millstream.consumers.sink.rejected import RejectedRecord
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.writer import InsertResult, Writer

log = structlog.get_logger("millstream.sink")

LOGGED_REJECTIONS = 3
"""Rejected records of a batch that are logged; all of them go to the dead letters."""

SMOOTHING = 8


class InsertCycle:
    """Cuts batches and inserts them on the threads of `pool`. Its other methods are called by the poll thread.

    `writer` is set before the first batch, and again after each rebalance. `dead_letters` is None for a source whose
    rejected records are not sent to the dead letters.
    """

    def __init__(
        self,
        config: SinkConfig,
        pool: Executor,
        commits: SinkCommits,
        holds: Holds,
        dead_letters: DeadLetterSender | None,
        status: SinkStatus,
    ) -> None:
        self.writer: Writer | None = None
        self._config = config
        self._pool = pool
        self._commits = commits
        self._holds = holds
        self._dead_letters = dead_letters
        self._status = status
        self._retries = InsertRetries(config, commits.topic, status)
        self._insert_s = 0.0

    def collect(self, partitions: Collection[SinkPartition]) -> None:
        """Note the inserts that are done."""
        for partition in partitions:
            if partition.insert is None or not partition.insert.done():
                continue
            error = partition.insert.exception()
            if error is None:
                self.finish(partition, partition.insert.result())
            elif isinstance(error, Exception):
                # Whatever failed, the batch is announced: it is inserted under its token, or left to the next owner.
                self._retries.failed(partition, error, time.monotonic())
            else:
                raise error

    def start(self, partitions: Collection[SinkPartition]) -> None:
        """Announce the batches that are due and hand them to the writers."""
        self._holds.end(partitions)
        now, config = time.monotonic(), self._config
        waiting = self._retries.due(partitions, now)
        busy = sum(each.insert is not None for each in partitions)
        due = order_inserts(
            waiting, busy, config.parallel_inserts, self._limits(len(partitions)), config.max_age_s, now
        )
        ready = []
        for partition, batch in due:
            partition.batch = batch if partition.failures else self._holds.readable(partition, batch)
            if partition.batch is not None:
                ready.append((partition, partition.batch))
        if not self._commits.announce(ready):
            return
        for partition, batch in ready:
            partition.inserted = None
            assert self.writer is not None
            partition.insert = self._pool.submit(self._insert, partition, batch, self.writer)

    def acknowledge(self, partitions: Collection[SinkPartition]) -> None:
        """Acknowledge the last batch of partitions that have had no next one for a while."""
        before = time.monotonic() - self._config.acknowledge_after_s
        self._commits.acknowledge(
            [
                each
                for each in partitions
                if each.batch is None and each.inserted is not None and each.inserted_at <= before
            ]
        )

    def quiet_s(self, partitions: Collection[SinkPartition]) -> float:
        """For how many seconds there is nothing to do for these partitions unless records arrive; infinite if nothing
        waits."""
        now, quiet_s = time.monotonic(), math.inf
        age_s = self._limits(len(partitions)).age_s if partitions else 0.0
        for each in partitions:
            if each.batch is not None or each.hold is not None or each.buffer.exact_end is not None:
                return 0.0
            if each.buffer.records.offsets:
                quiet_s = min(quiet_s, age_s - each.buffer.age(now))
            if each.inserted is not None:
                quiet_s = min(quiet_s, each.inserted_at + self._config.acknowledge_after_s - now)
        return max(0.0, quiet_s)

    def finish(self, partition: SinkPartition, result: InsertResult) -> None:
        """Note that the partition's batch is inserted."""
        assert partition.batch is not None
        status = self._status
        status.rows_inserted += result.rows
        status.dead_records += len(result.rejected)
        status.batches += 1
        status.last_error = ""
        partition.inserted = result.end
        partition.inserted_at = time.monotonic()
        if result.end > partition.batch.range.end:
            partition.buffer.skip_to(result.end)
        partition.batch = partition.insert = None
        self._retries.succeeded(partition)
        for record in itertools.islice(result.rejected, LOGGED_REJECTIONS):
            reason = status.shown(record.reason)
            log.warning(
                "record_rejected",
                topic=self._commits.topic,
                partition=partition.number,
                offset=record.offset,
                reason=reason,
            )

    def _limits(self, partitions: int) -> BatchLimits:
        config = self._config
        # Batches wait longer while inserts are slow, so that small ones leave ClickHouse time for other work.
        busy_s = self._insert_s * partitions / config.parallel_inserts
        age_s = min(config.max_age_s, max(config.min_age_s, 3 * busy_s))
        return BatchLimits(config.max_rows, self._retries.most_bytes, age_s, config.target_rows)

    def _insert(self, partition: SinkPartition, batch: InsertBatch, writer: Writer) -> InsertResult:
        """On a writer thread: one try."""
        if partition.released.is_set():
            raise PartitionReleased

        def report(rejected: list[RejectedRecord]) -> None:
            new = [each for each in rejected if each.offset not in partition.reported]
            if self._dead_letters is not None:
                self._dead_letters.send(partition.number, new)
            partition.reported.update(each.offset for each in new)

        began = time.monotonic()
        result = writer.write(partition.number, batch, partition.refusals, report)
        self._insert_s += (time.monotonic() - began - self._insert_s) / SMOOTHING
        return result


class PartitionReleased(RuntimeError):
    """The partition was taken away before the try began; its next owner inserts the batch."""
