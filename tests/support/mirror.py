"""A stand-in of MirrorMaker 2 with topics of the same names: records are copied, commits are translated.

Like MirrorMaker 2 it copies the records of committed transactions and leaves out aborted records and markers, so a
record has another offset in the copy. A commit is translated by pairs of offsets that are known to belong together, to
an offset at or before the true one, and its text is copied as it is.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.schemas.topics import OVERFLOW_GROUP
from tests.support.waiting import eventually

PAIRS = 64
CHECKPOINT_INTERVAL_S = 0.3
LARGEST_LAG = 100
"""After how many records a new pair is noted when the offsets go on side by side (`offset.lag.max`)."""

Key = tuple[str, int]


class OffsetTranslation:
    """The offsets of one partition in the source and in the copy, as `OffsetSyncStore` of MirrorMaker 2 keeps them.

    Of the pairs that were noted, those near the end of the log are kept, and ever fewer of those further back.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[int, int]] = []
        self._copied = -1
        self._noted = 0

    def copied(self, source: int, copy: int) -> None:
        """The record at offset `source` has been copied to offset `copy`."""
        follows = source == self._copied + 1
        self._copied = source
        if self._pairs and follows and copy - (self._noted + 1) < LARGEST_LAG:
            return
        self._noted = copy
        if not self._pairs:
            self._pairs = [(source, copy)] * PAIRS
            return
        self._pairs[0] = source, copy
        for place in range(1, PAIRS):
            if not (self._pairs[place][0] ^ source) >> place:
                return
            self._pairs[place] = source, copy

    def translate(self, source: int) -> int | None:
        """Where a group that has committed `source` goes on in the copy: never after the true place. None when that is
        not known any more."""
        known = next((pair for pair in self._pairs if pair[0] <= source), None)
        return None if known is None else known[1] + (source != known[0])


@dataclass(frozen=True)
class Checkpoint:
    """Commits of the source at one moment, by group, and where its logs ended then."""

    commits: Mapping[str, list[TopicPartition]]
    ends: Mapping[Key, int]


class Mirror:
    """Copies the topics of a catalogue and the groups of its workers from one cluster to another, in a thread of its
    own, from entering to leaving.

    A commit is translated once everything that the source held when it was read is copied. MirrorMaker 2 does so if its
    intervals of checkpoints are longer than its records are late.
    """

    def __init__(self, source: str, copy: str, topics: TopicCatalogue, group: str) -> None:
        self._source = KafkaConnection(source)
        self._copy = KafkaConnection(copy)
        self._reader = Consumer(self._source.consumer("mirror", enable_partition_eof=True))
        self._writer = Producer(self._copy.producer())
        names = [f"{group}.{name}" for name in (*topics.lanes, OVERFLOW_GROUP, "handover-0", "handover-1")]
        # The last commit counts, even while a transaction that changes it is open.
        self._groups = {name: self._group(self._source, name) for name in names}
        self._places = self._partitions(topics)
        self._lanes = [
            TopicPartition(name, number)
            for name, number in self._places
            if any(name in (topics.lane(lane), topics.overflow(lane)) for lane in topics.lanes)
        ]
        self._read = dict.fromkeys(self._places, 0)
        self._translations: dict[Key, OffsetTranslation] = defaultdict(OffsetTranslation)
        self._checkpoint: Checkpoint | None = None
        self._checked_at = 0.0
        self._checkpoints = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self.translated: dict[str, dict[Key, TopicPartition]] = {name: {} for name in names}
        """What was committed in the copy, by group and partition."""

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Copy nothing more: the source is gone."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def await_checkpoint(self, within_s: float = 60) -> None:
        """Wait until commits that were read after this call are translated."""
        wanted = self._checkpoints + 2
        eventually(lambda: self._checkpoints, lambda count: count >= wanted, within_s)

    def _run(self) -> None:
        self._reader.assign([TopicPartition(*each, 0) for each in self._places])
        try:
            while not self._stop.is_set():
                try:
                    self._copy_records()
                    self._copy_commits()
                except KafkaException:
                    # The source is going away.
                    continue
        finally:
            for consumer in (self._reader, *self._groups.values()):
                consumer.close()

    def _copy_records(self) -> None:
        for message in self._reader.consume(2_000, 0.1):
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                continue
            assert topic is not None and partition is not None and offset is not None
            key = topic, partition
            # The end is behind markers and aborted records, which are not delivered.
            self._read[key] = max(self._read[key], offset if error else offset + 1)
            if error is None:
                self._writer.produce(
                    topic,
                    message.value(),
                    message.key(),
                    partition,
                    timestamp=message.timestamp()[1],
                    headers=message.headers() or [],
                    on_delivery=partial(self._delivered, offset),
                )
        self._writer.flush(30)

    def _delivered(self, source: int, error: KafkaError | None, copy: Message) -> None:
        assert error is None, error
        topic, partition, offset = copy.topic(), copy.partition(), copy.offset()
        assert topic is not None and partition is not None and offset is not None
        self._translations[topic, partition].copied(source, offset)

    def _copy_commits(self) -> None:
        if self._checkpoint is None:
            if time.monotonic() - self._checked_at < CHECKPOINT_INTERVAL_S:
                return
            self._checked_at = time.monotonic()
            commits = {name: group.committed(self._lanes, 2) for name, group in self._groups.items()}
            ends_reader = next(iter(self._groups.values()))
            ends = {key: ends_reader.get_watermark_offsets(TopicPartition(*key), 2)[1] for key in self._places}
            self._checkpoint = Checkpoint(commits, ends)
        if all(self._read[key] >= end for key, end in self._checkpoint.ends.items()):
            for name, committed in self._checkpoint.commits.items():
                self._translate(name, [each for each in committed if each.offset >= 0])
            self._checkpoint = None
            self._checkpoints += 1

    def _translate(self, name: str, commits: Iterable[TopicPartition]) -> None:
        before, changed = self.translated[name], {}
        for each in commits:
            key = each.topic, each.partition
            offset = self._translations[key].translate(each.offset)
            if offset is None:
                continue
            # As the log grows a translation becomes less exact; an earlier one of the same commit stays right.
            old = before.get(key)
            new = TopicPartition(*key, max(offset, old.offset if old else 0), each.metadata or "")
            if old is None or (new.offset, new.metadata) != (old.offset, old.metadata):
                changed[key] = new
        if changed:
            group = self._group(self._copy, name)
            group.commit(offsets=list(changed.values()), asynchronous=False)
            group.close()
            before |= changed

    def _partitions(self, topics: TopicCatalogue) -> list[Key]:
        found = self._reader.list_topics(timeout=10).topics
        return [(topic.name, number) for topic in topics for number in found[topic.name].partitions]

    @staticmethod
    def _group(connection: KafkaConnection, name: str) -> Consumer:
        return Consumer(connection.consumer(name, isolation_level="read_uncommitted"))
