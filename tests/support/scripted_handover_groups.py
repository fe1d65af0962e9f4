"""Announcements of previous owners, without a broker."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import cast

from confluent_kafka import TopicPartition

from millstream.consumers.kafka.handover_groups import SLOTS, Announced, AnnouncementUnknown, HandoverGroups
from millstream.consumers.kafka.running_elsewhere import RunningElsewhere
from millstream.consumers.kafka.transaction import Commit


class ScriptedHandoverGroups:
    """`announced`: what is committed, by topic, partition and slot. A commit that is prepared counts as committed.

    `unstable`: how many readings fail first. `keeps_text`: whether the broker keeps the text of commits.
    """

    def __init__(self) -> None:
        self.announced: dict[tuple[str, int, int], RunningElsewhere] = {}
        self.unstable = 0
        self.keeps_text = True

    def commit(self, slot: int, announced: Sequence[RunningElsewhere]) -> Commit:
        offsets = []
        for each in announced:
            if self.keeps_text:
                self.announced[each.topic, each.partition, slot] = each
            offsets.append(TopicPartition(each.topic, each.partition, each.start, each.text()))
        return Commit(offsets, f"handover-{slot}")

    def ask(self, partitions: Sequence[TopicPartition]) -> "Future[Announced]":
        answer: Future[Announced] = Future()
        if self.unstable:
            self.unstable -= 1
            answer.set_exception(AnnouncementUnknown("offsets are pending"))
            return answer
        answer.set_result(
            {
                (each.topic, each.partition): [
                    self.announced.get((each.topic, each.partition, slot)) for slot in range(SLOTS)
                ]
                for each in partitions
            }
        )
        return answer

    def as_groups(self) -> HandoverGroups:
        """Itself, as what the parts take."""
        return cast(HandoverGroups, self)
