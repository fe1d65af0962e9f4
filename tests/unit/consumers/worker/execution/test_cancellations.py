"""Which jobs are remembered to be cancelled."""

from millstream.consumers.worker.execution.cancellations import CLOCKS_APART_US, Cancellation, Cancellations

NOW_US = 1_700_000_000_000_000


def test_a_cancellation_is_remembered_until_it_is_revoked() -> None:
    cancellations = Cancellations()
    cancellations.add("job", Cancellation("not needed"))
    assert cancellations.get("job", NOW_US) == "not needed" and "job" in cancellations
    cancellations.revoke("job")
    cancellations.revoke("job")
    assert cancellations.get("job", NOW_US) is None and len(cancellations) == 0


def test_the_oldest_cancellations_are_dropped_beyond_the_limit() -> None:
    cancellations = Cancellations(limit=3)
    for number in range(5):
        cancellations.add(str(number), Cancellation("no"))
    assert [number for number in range(5) if str(number) in cancellations] == [2, 3, 4]
    cancellations.add_unread({"5": b"", "6": b""}, lambda record: None)
    assert [number for number in range(7) if str(number) in cancellations] == [4, 5, 6]


def test_a_job_that_was_submitted_after_its_cancellation_is_another_one_and_runs() -> None:
    cancellations = Cancellations()
    cancellations.add("job", Cancellation("not needed", NOW_US))
    assert cancellations.get("job", NOW_US - 1) == "not needed"
    assert cancellations.get("job", NOW_US + CLOCKS_APART_US) == "not needed", "the hosts' clocks may differ"
    assert cancellations.get("job", NOW_US + CLOCKS_APART_US + 1) is None


def test_a_record_is_read_when_its_job_starts_and_not_before() -> None:
    cancellations = Cancellations()
    read: list[bytes] = []

    def reading(record: bytes) -> Cancellation | None:
        read.append(record)
        return None if record == b"damaged" else Cancellation(record.decode(), NOW_US)

    cancellations.add_unread({"a": b"first", "b": b"second", "c": b"damaged"}, reading)
    assert (len(cancellations), read) == (3, [])
    assert cancellations.get("b", NOW_US) == "second"
    assert cancellations.get("c", NOW_US) is None
    assert cancellations.get("d", NOW_US) is None
    assert read == [b"second", b"damaged"]
