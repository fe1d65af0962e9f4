"""Builds dead letters: what could not be processed, with the complete cause, within what a broker accepts."""

from collections.abc import Mapping

from millstream.schemas import DeadLetter, DeadReason, JobRequest

LETTER_LIMIT = 2_000_000
"""Bytes of a record's value and stack that a letter may carry: below `max.message.bytes` of `jobs.dead`, with room for
the envelope."""

KEY_LIMIT = 1_000
"""Bytes of a record's key that a letter carries, once in its field and often as its own key too."""

MESSAGE_LIMIT = 2_000
SHORT_MESSAGE = 200
SHORT_KEY = 1_000


def dead_letter(
    reason: DeadReason,
    cause: Mapping[str, str],
    *,
    worker_id: str,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    request: JobRequest | None = None,
) -> DeadLetter:
    """The letter of the record at this place. `cause`: the fields of the error. `request`: the job, where the record
    could be read as one. A key or value that would make the letter too large is left out; it is still at its offset."""
    job = request.model_dump(include={"job_id", "tenant", "job_type", "attempt"}) if request else {}
    letter = DeadLetter.model_validate(
        {
            **cause,
            **job,
            "error_message": cause.get("error_message", "")[:MESSAGE_LIMIT],
            "reason": reason,
            "worker_id": worker_id,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "record_key": key,
            "record_value": value,
        }
    )
    left_out = {}
    if len(key or b"") > KEY_LIMIT:
        left_out["record_key"] = f"key of {len(key or b''):,} bytes"
    if len(value or b"") + len(letter.stack) >= LETTER_LIMIT:
        left_out["record_value"] = f"value of {len(value or b''):,} bytes"
    if not left_out:
        return letter
    note = f"{letter.error_message} ({' and '.join(left_out.values())} left out; the record is at {_place(letter)})"
    return letter.model_copy(update=dict.fromkeys(left_out) | {"error_message": note})


def shortened(letter: DeadLetter) -> DeadLetter:
    """The letter without everything that may be long, for a topic that rejected it for its size."""
    note = f"{letter.error_message[:SHORT_MESSAGE]} (shortened; the record is at {_place(letter)})"
    key = letter.record_key if letter.record_key is None else letter.record_key[:SHORT_KEY]
    return letter.model_copy(update={"record_key": key, "record_value": None, "stack": "", "error_message": note})


def _place(letter: DeadLetter) -> str:
    return f"{letter.topic}[{letter.partition}]@{letter.offset}"
