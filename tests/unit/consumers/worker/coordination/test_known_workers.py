"""What heartbeats show of workers."""

import pytest

from millstream.consumers.worker.coordination.known_workers import (
    GONE_AFTER_S,
    MOST_WORKERS,
    TOLD_AFTER_S,
    KnownWorkers,
)


def known_workers() -> KnownWorkers:
    """The view of the worker `me`, whose first own heartbeat arrives at 0."""
    made = KnownWorkers("me", now=0.0)
    heard_self(made, 0.0)
    return made


def heard_self(known: KnownWorkers, now: float) -> None:
    known.receive("me", now, ended=False, understands=True)


def heard(known: KnownWorkers, now: float, ended: bool = False, understands: bool = True) -> None:
    known.receive("other", now, ended=ended, understands=understands)


def test_a_worker_is_gone_when_it_ended_or_is_silent_for_long() -> None:
    known = known_workers()
    heard(known, 0.0)
    heard_self(known, 1.0)
    assert not known.is_gone("other", 1.0)
    heard_self(known, GONE_AFTER_S + 1)
    assert known.is_gone("other", GONE_AFTER_S + 1)
    heard(known, GONE_AFTER_S + 2)
    assert not known.is_gone("other", GONE_AFTER_S + 2)
    heard(known, GONE_AFTER_S + 3, ended=True)
    assert known.is_gone("other", GONE_AFTER_S + 3)


def test_while_no_heartbeat_arrives_at_all_nobody_is_gone() -> None:
    known = known_workers()
    heard(known, 0.0)
    assert not known.is_gone("other", 100.0)


def test_a_worker_that_was_never_heard_of_is_gone_after_a_while() -> None:
    known = known_workers()
    assert not known.is_gone("unheard", 1.0)
    heard_self(known, GONE_AFTER_S + 1)
    assert known.is_gone("unheard", GONE_AFTER_S + 1)


def test_announcements_are_understood_unless_a_living_worker_runs_an_older_release() -> None:
    known = known_workers()
    assert known.all_understand(0.0)
    heard(known, 1.0, understands=False)
    assert not known.all_understand(2.0)
    assert known.all_understand(60.0), "it is gone"
    heard(known, 61.0, ended=True, understands=False)
    assert known.all_understand(61.0)


@pytest.mark.parametrize("worker_id", ["me", "other"])
def test_a_worker_has_dropped_what_it_announced_once_it_says_so_long_enough_afterwards(worker_id: str) -> None:
    def says(now: float, retains_as: str, age_s: float = 0.0) -> bool:
        known.receive(worker_id, now, ended=False, understands=True, retains_as=retains_as, age_s=age_s)
        return known.has_dropped(worker_id, "id-1", since=0.0)

    known = known_workers()
    assert not known.has_dropped("unheard", "id-1", since=0.0)
    assert not says(1.0, ""), "said before it announced, and late to arrive"
    late = TOLD_AFTER_S + 20
    assert not says(late, "id-1")
    assert not says(late, "", age_s=late - 1), "held up since, so it may have more to say"
    assert says(late, "id-2")
    assert says(late, "")


def test_made_up_workers_do_not_make_a_living_one_gone() -> None:
    known = known_workers()
    heard(known, 0.0)
    now = GONE_AFTER_S + 1
    heard_self(known, now)
    heard(known, now)
    for number in range(2 * MOST_WORKERS):
        known.receive(f"ghost-{number}", now, ended=False, understands=True)
    assert not known.is_gone("other", now), "it is forgotten, and whoever is forgotten may be alive"
    heard_self(known, now + GONE_AFTER_S + 1)
    assert known.is_gone("other", now + GONE_AFTER_S + 1)
