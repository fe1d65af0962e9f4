"""What is written in place of a record that is too large for its topic: never nothing."""

from datetime import UTC, datetime

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.schemas import Codec, DeadLetter, DeadReason, EventKind, JobEvent, JobRequest, TopicCatalogue

CODEC = Codec()
TOPICS = TopicCatalogue(prefix="")
HELD = Assignment(TOPICS.lane("default"), 2, "default")
OVERSIZED = Oversized(TOPICS, CODEC, "w")


def event(**fields: object) -> OutgoingRecord:
    made = JobEvent.model_validate(
        {
            "job_id": "00000000-0000-7000-8000-000000000000",
            "tenant": "a",
            "job_type": "t",
            "lane": "default",
            "submitted_at": datetime.now(UTC),
            "kind": "failed",
            **fields,
        }
    )
    return OutgoingRecord(TOPICS.events, b"key", CODEC.encode(made), HELD)


def test_an_event_loses_what_may_be_long_and_keeps_what_counts() -> None:
    large = event(stack="s" * 5000, error_message="m" * 900, labels={"team": "x" * 400}, run_ms=7.0)
    (less,) = OVERSIZED.replacement(large)
    written = CODEC.decode(less.value, JobEvent)
    assert (written.stack, written.labels, len(written.error_message), written.run_ms) == ("", {}, 200, 7.0)
    assert less.assignment is HELD and less.size < large.size


def test_a_dead_letter_loses_its_value_and_says_where_it_is() -> None:
    letter = DeadLetter(
        reason=DeadReason.FAILED, topic="jobs.default", partition=2, offset=9, record_value=b"v" * 9000, stack="s" * 900
    )
    (less,) = OVERSIZED.replacement(OutgoingRecord(TOPICS.dead, b"key", CODEC.encode(letter), HELD))
    written = CODEC.decode(less.value, DeadLetter)
    assert (written.record_value, written.stack) == (None, "")
    assert "jobs.default[2]@9" in written.error_message


def test_a_request_that_fits_nowhere_gives_up_its_job_with_a_letter_and_a_final_event() -> None:
    request = JobRequest(tenant="a", job_type="t", attempt=2, max_attempts=9, payload=b'"' + b"p" * 900 + b'"')
    record = OutgoingRecord(TOPICS.overflow("default"), b"a", CODEC.encode(request), HELD)
    letter, *events = OVERSIZED.replacement(record)
    assert CODEC.decode(letter.value, DeadLetter).reason is DeadReason.TOO_LARGE
    kinds = [(each.kind, each.final) for each in (CODEC.decode(one.value, JobEvent) for one in events)]
    assert kinds == [(EventKind.FAILED, True), (EventKind.DEAD_LETTERED, False)]
    assert all(each.assignment is HELD for each in (letter, *events))


def test_only_records_as_large_as_a_rejected_one_of_their_topic_are_replaced() -> None:
    small, large = event(), event(stack="s" * 5000)
    elsewhere = OutgoingRecord("other", None, b"x" * 10_000, HELD)
    written = OVERSIZED.fitting([small, large, elsewhere], [large])
    assert (written[0], written[2], len(written)) == (small, elsewhere, 3)
    assert written[1].size < large.size


def test_without_rejected_records_everything_is_written_as_it_was() -> None:
    batch = [event(), event(stack="s" * 5000)]
    assert OVERSIZED.fitting(batch, []) == batch


def test_a_dead_letter_whose_key_is_long_loses_it() -> None:
    key = b"k" * 90_000
    letter = DeadLetter(reason=DeadReason.UNREADABLE, topic="jobs.default", partition=2, offset=9, record_key=key)
    (less,) = OVERSIZED.replacement(OutgoingRecord(TOPICS.dead, key, CODEC.encode(letter), HELD, 9))
    written = CODEC.decode(less.value, DeadLetter)
    assert (less.key, written.record_key) == (None, None)
    assert (less.offset, less.size < 1_000) == (9, True)


def test_what_cannot_be_made_smaller_stays_as_it_is() -> None:
    large = event(stack="s" * 5000)
    (less,) = OVERSIZED.replacement(large)
    assert OVERSIZED.replacement(less) == [less]
