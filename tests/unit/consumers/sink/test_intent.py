"""What a commit announces: it is read back at its place, ignored at every other, and any other text is rejected."""

import re

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.sink.intent import LARGEST_EPOCH, Intent, MisplacedIntent, UnknownIntent, read_intent

OFFSETS = st.integers(0, 2**63 - 2)
CLUSTER, TOPIC = "cluster-1", "jobs.events"


def commit(metadata: str, offset: int = 7) -> TopicPartition:
    return TopicPartition(TOPIC, 3, offset, metadata)


@given(OFFSETS, OFFSETS)
def test_what_is_announced_is_read_back(one: int, other: int) -> None:
    intent = Intent(min(one, other), max(one, other) + 1)
    announced = intent.announcement(CLUSTER, TOPIC, 3)
    assert read_intent(announced, CLUSTER) == intent
    assert 0 <= (announced.leader_epoch or -1) <= LARGEST_EPOCH


@given(st.lists(OFFSETS, min_size=3, max_size=3, unique=True))
def test_what_is_announced_of_a_range_that_was_cut_is_read_back_with_the_end_that_its_token_names(
    offsets: list[int],
) -> None:
    start, end, whole_end = sorted(offsets)
    intent = Intent(start, whole_end).cut(end)
    assert (intent.end, intent.first_end, intent.cut(end).first_end) == (end, whole_end, whole_end)
    announced = intent.announcement(CLUSTER, TOPIC, 3)
    assert read_intent(announced, CLUSTER) == intent
    elsewhere = TopicPartition(TOPIC, 4, start, announced.metadata, leader_epoch=announced.leader_epoch or -1)
    with pytest.raises(MisplacedIntent):
        read_intent(elsewhere, CLUSTER)


@pytest.mark.parametrize(
    ("cluster", "topic", "partition", "offset", "keeps_epoch"),
    [
        ("cluster-2", TOPIC, 3, 100, True),
        (CLUSTER, "source.jobs.events", 3, 100, True),
        (CLUSTER, TOPIC, 4, 100, True),
        (CLUSTER, TOPIC, 3, 99, True),
        (CLUSTER, TOPIC, 3, 101, True),
        (CLUSTER, TOPIC, 3, 150, True),
        (CLUSTER, TOPIC, 3, 100, False),
        ("cluster-2", TOPIC, 3, 60, False),
    ],
)
def test_what_was_announced_elsewhere_is_ignored(
    cluster: str, topic: str, partition: int, offset: int, keeps_epoch: bool
) -> None:
    announced = Intent(100, 150).announcement(CLUSTER, TOPIC, 3)
    epoch = announced.leader_epoch if keeps_epoch else -1
    assert epoch is not None
    copied = TopicPartition(topic, partition, offset, announced.metadata, leader_epoch=epoch)
    with pytest.raises(MisplacedIntent):
        read_intent(copied, cluster)


@given(OFFSETS, OFFSETS)
def test_what_a_release_without_checksums_announced_is_read(one: int, other: int) -> None:
    start, end = min(one, other) % 10**17, max(one, other) % 10**17
    if start < end:
        assert read_intent(commit(f"v1 until={end}", start), CLUSTER) == Intent(start, end)


@given(OFFSETS, OFFSETS)
def test_a_release_without_checksums_reads_what_this_one_announces(one: int, other: int) -> None:
    """That release accepts this pattern, takes the number for the end, and fails at any other text."""
    intent = Intent(min(one, other), max(one, other) + 1)
    found = re.fullmatch(r"v1 until=([0-9]{1,19})", intent.announcement(CLUSTER, TOPIC, 3).metadata or "")
    assert found is not None and int(found[1]) == intent.end


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_other_text_is_refused_and_never_taken_for_a_range(text: str) -> None:
    if text and not text.startswith("v1 until="):
        with pytest.raises(UnknownIntent):
            read_intent(commit(text), CLUSTER)


@pytest.mark.parametrize("metadata", ["v2 until=9", "v1 until=-1", "v1 until=9 ", "v1 until=９"])
def test_a_damaged_or_newer_text_is_refused(metadata: str) -> None:
    with pytest.raises(UnknownIntent):
        read_intent(commit(metadata), CLUSTER)


@pytest.mark.parametrize("metadata", ["v1 until=7", "v1 until=3"])
def test_a_range_that_ends_before_it_begins_is_of_another_place(metadata: str) -> None:
    with pytest.raises(MisplacedIntent):
        read_intent(commit(metadata), CLUSTER)


@pytest.mark.parametrize("acknowledgement", [TopicPartition(TOPIC, 3, 7), commit("")])
def test_a_commit_without_text_announces_nothing(acknowledgement: TopicPartition) -> None:
    assert read_intent(acknowledgement, CLUSTER) is None


def test_the_text_is_far_below_the_smallest_metadata_limit() -> None:
    assert len((Intent(0, 2**63 - 1).announcement(CLUSTER, TOPIC, 0).metadata or "").encode()) < 64
