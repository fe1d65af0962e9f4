"""Partitions that hold records and have no commit: who has run their jobs decides where they start."""

import pytest

from millstream.consumers.kafka.positions import Position
from millstream.consumers.worker.config import WithoutCommit
from millstream.consumers.worker.first_start import CommitMissing, FirstStart
from millstream.schemas import Codec, KafkaConnection, RequestReader, TopicCatalogue

TOPIC = "jobs.default"


def starting(monkeypatch: pytest.MonkeyPatch, policy: WithoutCommit, *ran: int) -> FirstStart:
    """`ran`: partitions of which jobs have run."""
    monkeypatch.setattr(
        FirstStart, "_finished_job", lambda self, position: "a job" if position.partition in ran else ""
    )
    codec = Codec()
    return FirstStart(KafkaConnection("nowhere:9"), TopicCatalogue(""), codec, RequestReader(codec), policy)


def position(partition: int) -> Position:
    return Position(TOPIC, partition, None, "", (3, 40), "cluster", ())


@pytest.mark.parametrize("policy", ["refuse", "latest", "earliest"])
def test_a_group_that_starts_for_the_first_time_reads_everything(
    monkeypatch: pytest.MonkeyPatch, policy: WithoutCommit
) -> None:
    start = starting(monkeypatch, policy)
    assert [start.offset("workers", position(each)) for each in range(2)] == [3, 3]


def test_a_group_whose_commits_are_lost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommitMissing, match="a job"):
        starting(monkeypatch, "refuse", 0).offset("workers", position(0))


def test_jobs_of_a_partition_that_was_added_are_read_where_others_start_at_their_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = starting(monkeypatch, "latest", 0, 1)
    assert [start.offset("workers", position(each)) for each in range(3)] == [40, 40, 3]


def test_all_jobs_run_again_when_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert starting(monkeypatch, "earliest", 0).offset("workers", position(0)) == 3
