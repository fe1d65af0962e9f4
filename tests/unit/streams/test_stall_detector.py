"""An event that stays unread is found; a tracker that reads, or that Kafka says nothing about, is left alone."""

from collections.abc import Mapping
from types import SimpleNamespace

from confluent_kafka import OFFSET_BEGINNING

from millstream.streams.stall_detector import NOT_READY_CHECKS, STALLED_CHECKS, RecoveryWatch, StallDetector


class Kafka:
    """Stands for the second client: what it finds, and what it was asked."""

    def __init__(self) -> None:
        self.holds: dict[int, int] = {}
        self.asked: list[dict[int, int]] = []

    def unread(self, taken: Mapping[int, int]) -> dict[int, int]:
        self.asked.append(dict(taken))
        return {number: offset for number, offset in self.holds.items() if number in taken}


def record(partition: int, offset: int) -> SimpleNamespace:
    return SimpleNamespace(partition=partition, offset=offset)


async def looks(detector: StallDetector, count: int, owned: tuple[int, ...] = (0, 1)) -> dict[int, int]:
    """What the last of some looks finds; the others must find nothing."""
    for _ in range(count - 1):
        assert await detector.check(owned) == {}
    return await detector.check(owned)


async def test_an_event_that_stays_unread_is_found_when_patience_ends() -> None:
    kafka = Kafka()
    kafka.holds = {1: 7}
    assert await looks(StallDetector(kafka.unread), STALLED_CHECKS) == {1: 7}
    assert kafka.asked[0] == {0: OFFSET_BEGINNING, 1: OFFSET_BEGINNING}


async def test_one_silent_partition_is_found_while_others_are_read() -> None:
    kafka, count = Kafka(), 0
    kafka.holds = {0: 0, 1: 7}
    detector = StallDetector(kafka.unread)
    for count in range(STALLED_CHECKS - 1):
        detector.processed([record(0, count)])
        assert await detector.check((0, 1)) == {}
    detector.processed([record(0, count + 1)])
    assert await detector.check((0, 1)) == {1: 7}


async def test_a_slow_reader_is_not_stalled() -> None:
    kafka = Kafka()
    detector = StallDetector(kafka.unread)
    for offset in range(3):
        kafka.holds = {1: offset}
        assert await looks(detector, STALLED_CHECKS - 1) == {}
        detector.processed([record(1, offset)])
        assert await detector.check((0, 1)) == {}
    assert kafka.asked[-1] == {0: OFFSET_BEGINNING}
    await detector.check((0, 1))
    assert kafka.asked[-1] == {0: OFFSET_BEGINNING, 1: 3}


async def test_what_is_not_owned_or_not_answered_begins_anew() -> None:
    kafka = Kafka()
    detector = StallDetector(kafka.unread)
    for interrupted in ((), (0,)):
        kafka.holds = {1: 7}
        assert await looks(detector, STALLED_CHECKS - 1) == {}
        assert await detector.check(interrupted) == {}
    assert await looks(detector, STALLED_CHECKS - 1) == {}
    kafka.holds = {}
    assert await detector.check((0, 1)) == {}
    kafka.holds = {1: 7}
    assert await looks(detector, STALLED_CHECKS) == {1: 7}


async def test_a_recovery_that_stands_still_is_found_when_patience_ends() -> None:
    watch = RecoveryWatch(lambda: True)
    assert not await watch.check(False, 1)
    for _ in range(NOT_READY_CHECKS - 1):
        assert not await watch.check(False, 1)
    assert await watch.check(False, 1)


async def test_a_recovery_that_goes_on_or_has_ended_is_left_alone() -> None:
    watch = RecoveryWatch(lambda: True)
    for offset in (None, -1, None):
        assert not await watch.check(False, {("states", 0): offset})
    for count in range(NOT_READY_CHECKS + 1):
        assert not await watch.check(False, count)
    for _ in range(NOT_READY_CHECKS + 1):
        assert not await watch.check(True, 0)


async def test_a_recovery_is_left_alone_while_kafka_does_not_answer() -> None:
    watch = RecoveryWatch(lambda: False)
    for _ in range(NOT_READY_CHECKS + 2):
        assert not await watch.check(False, 1)
