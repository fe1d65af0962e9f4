"""Partitions that wait at a record which cannot be inserted yet: a newer release wrote it, or the Schema Registry does
not answer for its schema. What is before it is inserted; it is read again once it can be, here or by the next owner."""

import time
from collections.abc import Iterable

import structlog

from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.partitions import Hold, SinkPartition
from millstream.consumers.sink.record_schemas import NOT_ANSWERED, RecordSchemas
from millstream.consumers.sink.status import SinkStatus
from millstream.schemas.codec import schema_id_of

log = structlog.get_logger("millstream.sink")

WARN_INTERVAL_S = 60.0
LOOKED_UP_WITHIN_S = 1.0
"""A hold until the registry has answered is worth no line before this time: whoever writes events may make up a schema
id for each, and every new one is looked up."""


class Holds:
    """Which partitions of a topic wait. Used by the poll thread only."""

    def __init__(self, topic: str, schemas: RecordSchemas, status: SinkStatus) -> None:
        self._topic = topic
        self._schemas = schemas
        self._status = status

    def readable(self, partition: SinkPartition, batch: InsertBatch) -> InsertBatch | None:
        """What of a batch, which is not announced yet, is to be inserted now: all of it, or what is before the first
        record that cannot be inserted yet; the partition then waits there. A batch that an earlier owner announced is
        not divided."""
        unreadable = self._schemas.unreadable(batch.headers)
        if not unreadable:
            return batch
        index, header = batch.records.first_with(unreadable)
        offset = batch.records.offsets[index]
        before = None if batch.repeated or index == 0 else batch.before(index)
        if before is not None:
            partition.buffer.read_again(before.range.end)
        else:
            partition.buffer.read_again(batch.range.start, batch.range if batch.repeated else None)
        partition.hold = Hold(offset, header)
        self._warn(partition, partition.hold, unreadable[header])
        return before

    def end(self, partitions: Iterable[SinkPartition]) -> None:
        """Let those go on whose record can be inserted by now."""
        for partition in partitions:
            if (hold := partition.hold) is None:
                continue
            cause = self._schemas.unreadable([hold.header]).get(hold.header)
            if cause is not None:
                self._warn(partition, hold, cause)
                continue
            partition.hold = None
            del self._status.held[partition.number]
            if hold.warned_at is not None:
                log.info("partition_goes_on", topic=self._topic, partition=partition.number, offset=hold.offset)

    def _warn(self, partition: SinkPartition, hold: Hold, cause: str) -> None:
        self._status.held[partition.number] = f"offset {hold.offset}: {cause}"
        now = time.monotonic()
        if cause == hold.cause and hold.warned_at is not None and now - hold.warned_at < WARN_INTERVAL_S:
            return
        if cause == NOT_ANSWERED and now - hold.since < LOOKED_UP_WITHIN_S:
            return
        hold.warned_at, hold.cause = now, cause
        log.warning(
            "partition_held",
            topic=self._topic,
            partition=partition.number,
            offset=hold.offset,
            schema_id=schema_id_of(hold.header),
            reason=cause,
            action="its records wait in Kafka, the other partitions go on",
        )
