"""No two submissions of a client have the same attempt of a job, and what the client remembers is bounded."""

import threading

import pytest

from millstream.producers.attempt_numbers import AttemptNumbers


def test_threads_that_submit_the_same_job_get_attempts_of_their_own() -> None:
    numbers, taken = AttemptNumbers(), list[range]()
    threads = [
        threading.Thread(target=lambda: taken.extend(numbers.take("a", None, 3) for _ in range(100))) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({attempt for attempts in taken for attempt in attempts}) == 4 * 100 * 3


def test_an_attempt_is_taken_once() -> None:
    numbers = AttemptNumbers()
    assert numbers.take("a", 5, 2) == range(5, 7)
    for taken in (1, 5, 6):
        with pytest.raises(ValueError, match="7 was not"):
            numbers.take("a", taken, 1)
    assert numbers.take("a", 7, 1) == range(7, 8)


def test_only_the_latest_attempts_are_given_back() -> None:
    numbers = AttemptNumbers()
    first, second = numbers.take("a", None, 2), numbers.take("a", None, 2)
    numbers.release("a", first)
    assert numbers.next_of("a") == 5
    numbers.release("a", second)
    assert numbers.next_of("a") == 3


@pytest.mark.parametrize("at_once", [1, 7, 10, 25])
def test_the_latest_jobs_are_remembered_and_fewer_than_four_times_as_many(at_once: int) -> None:
    numbers, ids = AttemptNumbers(10), [str(each) for each in range(100)]
    for first in range(0, 100, at_once):
        numbers.take_first(dict.fromkeys(ids[first : first + at_once], 2))
        known = [each for each in ids if numbers.next_of(each) == 2]
        so_far = ids[: first + at_once]
        assert known[-10:] == so_far[-10:]
        assert len(known) < 40
