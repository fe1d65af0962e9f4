"""While Kafka refuses to let a topic be read, nothing of it is started, written or committed, and the rest goes on."""

from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker.denied_partitions import DeniedPartitions
from millstream.consumers.worker.status import WorkerStatus


class Refused:
    """What Kafka refuses, as a test says."""

    def __init__(self) -> None:
        self.topics: set[str] = set()

    @property
    def problems(self) -> list[str]:
        return sorted(self.topics)

    def run_once(self) -> None: ...

    def refuses_topic(self, topic: str) -> bool:
        return topic in self.topics


class Scene:
    def __init__(self) -> None:
        consumer = cast(Consumer, SimpleNamespace(consumer_group_metadata=lambda: "group"))
        self.member = GroupMember("g", consumer, {"jobs.a": "a", "jobs.b": "b"}, overflow=False)
        self.a, self.b = Assignment("jobs.a", 0, uncommitted=True), Assignment("jobs.b", 0, uncommitted=True)
        for each in (self.a, self.b):
            each.ledger.take(0)
            self.member.assignments[each.topic_partition] = each
        self.refused = Refused()
        self.status = WorkerStatus()
        self.dropped: list[TopicPartition] = []
        self.resumed = 0
        self.denied = DeniedPartitions(
            [self.member], cast(DeniedRights, self.refused), self.status, self._drop, self._resumed
        )

    def _drop(self, member: Any, partitions: list[TopicPartition]) -> None:
        self.dropped += partitions

    def _resumed(self) -> None:
        self.resumed += 1


def test_only_what_is_refused_is_suspended_and_left_out_of_commits() -> None:
    scene = Scene()
    scene.refused.topics = {"jobs.a"}
    scene.denied.run_once()
    assert not scene.a.writable and scene.a.held
    assert scene.b.writable
    assert scene.status.denied == ["jobs.a"]
    commit = scene.member.commit()
    assert commit is not None and [each.topic for each in commit.offsets] == ["jobs.b"]
    assert scene.a.uncommitted


def test_it_goes_on_where_it_was_when_the_right_is_back() -> None:
    scene = Scene()
    scene.refused.topics = {"jobs.a"}
    scene.denied.run_once()
    scene.refused.topics = set()
    scene.denied.run_once()
    assert scene.a.writable and scene.a.uncommitted
    assert scene.resumed == 1 and scene.status.denied == []


def test_one_that_was_taken_away_meanwhile_stays_given_up() -> None:
    scene = Scene()
    scene.refused.topics = {"jobs.a"}
    scene.denied.run_once()
    scene.member.remove(scene.a.topic_partition)
    scene.a.release()
    scene.refused.topics = set()
    scene.denied.run_once()
    assert not scene.a.writable and not scene.a.held
    assert scene.resumed == 0


def test_a_drain_gives_up_what_cannot_be_written() -> None:
    scene = Scene()
    scene.refused.topics = {"jobs.a"}
    scene.denied.run_once()
    scene.denied.drop_all()
    assert [each.topic for each in scene.dropped] == ["jobs.a"]
