"""A consumer without a broker, for the parts of a worker that read and commit."""

from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.group_member import GroupMember
from millstream.schemas import Codec, JobRequest

CLUSTER = "cluster-1"
"""The id of the cluster that a scripted consumer reads."""


class ScriptedMessage:
    """A record, or the error in place of one."""

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        value: bytes | None,
        error: KafkaError | None = None,
        key: bytes | None = None,
    ) -> None:
        self._fields = (topic, partition, offset, value, error)
        self._key = key

    def __len__(self) -> int:
        return len(self._fields[3] or b"")

    def topic(self) -> str:
        return self._fields[0]

    def partition(self) -> int:
        return self._fields[1]

    def offset(self) -> int:
        return self._fields[2]

    def key(self) -> bytes | None:
        return self._key

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, 0)

    def value(self) -> bytes | None:
        return self._fields[3]

    def error(self) -> KafkaError | None:
        return self._fields[4]


class ScriptedConsumer:
    """Returns the messages put into `arriving`, and records what it is asked to do in `calls`.

    `commits`: what the group has committed, by partition. `unknown`: how many times the commits cannot be read first.
    `logs`: the first offset of a partition and the one after its last, if they matter.
    """

    def __init__(self) -> None:
        self.arriving: deque[list[ScriptedMessage]] = deque()
        self.calls: list[tuple[str, Any]] = []
        self.commits: dict[tuple[str, int], TopicPartition] = {}
        self.logs: dict[tuple[str, int], tuple[int, int]] = {}
        self.unknown = 0
        self.commit_fails = False
        self.assigned: set[tuple[str, int]] = set()
        self.callbacks: dict[str, Any] = {}
        self.paused: set[tuple[str, int]] = set()

    def consume(self, count: int, timeout: float) -> list[ScriptedMessage]:
        return self.arriving.popleft() if self.arriving else []

    def poll(self, timeout: float) -> ScriptedMessage | None:
        if not self.arriving:
            return None
        first, *rest = self.arriving.popleft()
        if rest:
            self.arriving.appendleft(rest)
        return first

    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.unknown:
            self.unknown -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the offsets are pending"))
        nothing = -1001
        return [
            self.commits.get((each.topic, each.partition), TopicPartition(each.topic, each.partition, nothing))
            for each in partitions
        ]

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return self.logs.get((partition.topic, partition.partition), (0, 2**40))

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(cluster_id=CLUSTER)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.calls.append(("subscribe", topics))
        self.callbacks = callbacks

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*each) for each in self.assigned]

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned |= {(each.topic, each.partition) for each in partitions}
        self.calls.append(("assign", [(each.partition, each.offset) for each in partitions]))

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.assigned -= {(each.topic, each.partition) for each in partitions}
        self.calls.append(("unassign", [each.partition for each in partitions]))

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(each.topic, each.partition) for each in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(each.topic, each.partition) for each in partitions}

    def seek(self, partition: TopicPartition) -> None:
        self.calls.append(("seek", (partition.partition, partition.offset)))

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        """Commits are recorded, and fail while `commit_fails`."""
        assert not asynchronous
        if self.commit_fails:
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS, "a rebalance is in progress"))
        self.commits |= {(each.topic, each.partition): each for each in offsets}
        self.calls += [("commit", (each.partition, each.offset, each.metadata)) for each in offsets]
        return offsets

    def consumer_group_metadata(self) -> object:
        return "metadata"

    def close(self) -> None:
        self.calls.append(("close", None))


def scripted_member(
    consumer: ScriptedConsumer, topic: str = "jobs.default", lane: str = "default", overflow: bool = False
) -> GroupMember:
    """A member that reads one topic from a scripted consumer."""
    return GroupMember(f"workers.{lane}", cast(Consumer, consumer), {topic: lane}, overflow)


def messages(
    topic: str, values: Sequence[bytes | None], partition: int = 0, first_offset: int = 0, key: bytes | None = None
) -> list[Message]:
    """Records of one partition and key, one after the other."""
    found = [
        ScriptedMessage(topic, partition, first_offset + index, value, key=key) for index, value in enumerate(values)
    ]
    return cast(list[Message], found)


def request(codec: Codec, tenant: str = "acme", ordering_key: str = "", job_type: str = "sleep") -> bytes:
    """The bytes of a request."""
    return codec.encode(JobRequest(tenant=tenant, job_type=job_type, payload=b"{}", ordering_key=ordering_key))
