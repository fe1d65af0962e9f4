"""Whether a transaction was committed, from the offsets that its group has now."""

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.settlement import CommitAttempt, was_committed


def at(offset: int, metadata: str = "") -> TopicPartition:
    return TopicPartition("jobs.default", 0, offset, metadata)


@pytest.mark.parametrize(
    ("attempts", "committed"),
    [
        ([CommitAttempt(at(5), at(3), at(5))], True),
        ([CommitAttempt(at(5), at(3), at(3))], False),
        ([CommitAttempt(at(3, "m1r:b"), at(3, "m1r:a"), at(3, "m1r:b"))], True),
        ([CommitAttempt(at(3, "m1r:b"), at(3, "m1r:a"), at(3, "m1r:a"))], False),
        ([CommitAttempt(at(5), at(5), at(5)), CommitAttempt(at(2), at(1), at(2))], True),
        ([CommitAttempt(at(5), at(5), at(5))], None),
        ([CommitAttempt(at(5), None, at(5))], None),
        ([CommitAttempt(at(5), at(3), at(9))], None),
        ([], None),
    ],
)
def test_offsets_tell_about_the_transaction_only_where_they_changed(
    attempts: list[CommitAttempt], committed: bool | None
) -> None:
    assert was_committed(attempts) is committed
