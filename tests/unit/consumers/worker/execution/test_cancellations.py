"""Cancellations: remembered by job, revocable, and bounded."""

from millstream.consumers.worker.execution.cancellations import Cancellations


def test_a_cancellation_is_remembered_until_it_is_revoked() -> None:
    cancellations = Cancellations()
    cancellations.add("job", "not needed")
    assert cancellations.get("job") == "not needed" and "job" in cancellations
    cancellations.revoke("job")
    cancellations.revoke("job")
    assert cancellations.get("job") is None and len(cancellations) == 0


def test_the_oldest_cancellations_are_dropped_beyond_the_limit() -> None:
    cancellations = Cancellations(limit=3)
    for number in range(5):
        cancellations.add(str(number), "no")
    assert [number for number in range(5) if str(number) in cancellations] == [2, 3, 4]
