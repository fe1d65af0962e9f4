"""Dead letters: the record, its place and the complete cause, within what a broker accepts."""

from millstream.consumers.dead_letters import LETTER_LIMIT, MESSAGE_LIMIT, dead_letter, shortened
from millstream.schemas import DeadLetter, DeadReason, JobRequest


def letter(value: bytes | None = b"value", **cause: str) -> DeadLetter:
    return dead_letter(
        DeadReason.FAILED,
        {"error_type": "ValueError", "error_message": "no", **cause},
        worker_id="w",
        topic="jobs.default",
        partition=1,
        offset=7,
        key=b"key",
        value=value,
        request=JobRequest(tenant="acme", job_type="t", attempt=2),
    )


def test_a_letter_names_the_job_the_place_and_the_cause() -> None:
    made = letter()
    assert (made.tenant, made.attempt, made.error_type, made.error_message) == ("acme", 2, "ValueError", "no")
    assert (made.topic, made.partition, made.offset, made.record_key) == ("jobs.default", 1, 7, b"key")
    assert made.record_value == b"value"


def test_a_value_that_would_make_the_letter_too_large_is_left_out_and_its_place_named() -> None:
    made = letter(b"v" * LETTER_LIMIT)
    assert made.record_value is None
    assert "2,000,000 bytes left out" in made.error_message and "jobs.default[1]@7" in made.error_message


def test_a_long_key_is_left_out_and_its_length_and_place_named() -> None:
    made = dead_letter(
        DeadReason.UNREADABLE,
        {"error_message": "no request"},
        worker_id="w",
        topic="jobs.default",
        partition=1,
        offset=7,
        key=b"k" * 1_600_000,
        value=b"nonsense",
    )
    assert (made.record_key, made.record_value) == (None, b"nonsense")
    assert made.error_message == "no request (key of 1,600,000 bytes left out; the record is at jobs.default[1]@7)"


def test_a_long_message_is_cut() -> None:
    assert len(letter(error_message="m" * 9000).error_message) == MESSAGE_LIMIT


def test_a_shortened_letter_keeps_the_place_of_the_record() -> None:
    made = shortened(letter(stack="s" * 5000, error_message="m" * 900))
    assert (made.record_value, made.stack) == (None, "")
    assert made.error_message.endswith("(shortened; the record is at jobs.default[1]@7)")
    assert len(made.error_message) < 300
