"""The tracker's table: the states of jobs in memory, read from `jobs.states` at the start.

A job's state lies in the partition of its key. When `jobs.states` gets more partitions, half of the keys or more belong
to another one from then on, and compaction never removes the record that stays behind. Which of two records of a key
would be read last is chance, so the table keeps them apart by their partition and the tracker chooses.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import faust
from faust.stores.memory import Store

from millstream.streams.log_limit import LIBRARY_LOGGER

Change = tuple[int, bytes, bytes | None]
"""Partition, key and new record; None is a tombstone."""


class StateStore(Store[bytes, bytes]):
    """Faust's store in memory, with one record of a key for each partition that has one.

    `data` has one record of each key, and `elsewhere` those of the few keys that have records in other partitions too.
    """

    logger = LIBRARY_LOGGER

    def __post_init__(self) -> None:
        super().__post_init__()
        self.elsewhere: dict[bytes, dict[int, bytes]] = {}

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Apply records of the changelog, each to what its partition has of the key."""
        for event in batch:
            value = None if event.message.value is None else to_value(event.value)
            self._apply(to_key(event.key), event.message.partition, value)

    def records(self) -> Iterator[tuple[bytes, dict[int | None, bytes]]]:
        """Each key with its records by partition. The partition is None for a record that this tracker has written
        since it read the table."""
        for key, value in self.data.items():
            found: dict[int | None, bytes] = {self._key_partition.get(key): value}
            yield key, found | cast(dict[int | None, bytes], self.elsewhere.get(key, {}))

    def keep(self, key: bytes, value: bytes) -> None:
        """Replace all records of a key by this one."""
        self.elsewhere.pop(key, None)
        self._key_partition.pop(key, None)
        self.data[key] = value

    def forget(self, key: bytes) -> None:
        """Remove all records of a key."""
        self.elsewhere.pop(key, None)
        self._key_partition.pop(key, None)
        self.data.pop(key, None)

    async def on_recovery_completed(self, active_tps: set[Any], standby_tps: set[Any]) -> None:
        """Drop the records of partitions that this tracker does not own."""
        owned = {partition for _, partition in active_tps}
        for key, records in list(self.elsewhere.items()):
            for partition in records.keys() - owned:
                self._apply(key, partition, None)
        for key, partition in list(self._key_partition.items()):
            if partition not in owned:
                self._apply(key, partition, None)

    def _apply(self, key: bytes, partition: int, value: bytes | None) -> None:
        at = self._key_partition.get(key, partition)
        if at != partition:
            others = self.elsewhere.setdefault(key, {})
            if value is None:
                others.pop(partition, None)
            else:
                others[partition] = value
            if not others:
                del self.elsewhere[key]
        elif value is not None:
            self.data[key] = value
            self._key_partition[key] = partition
        elif key in self.elsewhere:
            self._key_partition[key], self.data[key] = self.elsewhere[key].popitem()
            if not self.elsewhere[key]:
                del self.elsewhere[key]
        else:
            self.data.pop(key, None)
            self._key_partition.pop(key, None)


class StateTable(faust.Table[bytes, bytes]):
    """Faust's table with a `StateStore`, and with a way to write many changes at once."""

    logger = LIBRARY_LOGGER

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._writing = asyncio.Lock()

    @property
    def states(self) -> StateStore:
        return cast(StateStore, self.data)

    async def write_changes(self, changes: Sequence[Change]) -> None:
        """Write to the changelog; returns when Kafka has acknowledged every change, and raises what it refuses one
        with. Of two calls the first one's changes come first in every partition.

        Faust sends each change by itself, which takes ten times as long, and tells nobody when it is acknowledged.
        """
        by_partition: dict[int, list[Change]] = {}
        for change in changes:
            by_partition.setdefault(change[0], []).append(change)
        async with self._writing:
            await asyncio.gather(*(self._write(number, each) for number, each in by_partition.items()))

    async def _write(self, partition: int, changes: Sequence[Change]) -> None:
        producer = cast(Any, self.app.producer)._ensure_producer()
        topic, sent = self.changelog_topic.get_topic_name(), []
        batch = producer.create_batch()
        for _, key, value in changes:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    def _new_store_by_url(self, url: Any) -> StateStore:
        return StateStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )
