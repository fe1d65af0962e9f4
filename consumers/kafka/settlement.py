"""Tells from a group's committed offsets whether a transaction was committed. Pure.

A producer may be lost between asking for a commit and the answer. Offsets and records of a transaction are committed
together, so the offsets tell about the records, once a new producer of the same transactional id has been opened: from
then on nothing of the lost one can be committed any more.
"""

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import TopicPartition


class CommitAttempt(NamedTuple):
    """What a transaction was to commit of one partition that is still held, `before` it, and what was `found` after.
    `before` is None when it is not known."""

    attempted: TopicPartition
    before: TopicPartition | None
    found: TopicPartition


def was_committed(attempts: Iterable[CommitAttempt]) -> bool | None:
    """Whether the transaction was committed; None when the offsets do not tell."""
    for attempted, before, found in attempts:
        if before is None or same_commit(before, attempted):
            continue
        if same_commit(found, attempted):
            return True
        if same_commit(found, before):
            return False
    return None


def same_commit(one: TopicPartition, other: TopicPartition) -> bool:
    """Whether two commits of one partition say the same: offset and metadata."""
    return (one.offset, one.metadata or "") == (other.offset, other.metadata or "")
