"""The records of `jobs.states`, read within bounds: the topic may hold what another program wrote there."""

from typing import Any

from millstream.schemas import Codec, DecodeError, JobState, State
from millstream.streams import bounds
from millstream.streams.lifecycle import MAX_MARKS, Fields

MAX_MARK = 400
"""Characters of a mark, of any release."""

_INTS = ("attempt", "executions", "outcomes")
_NUMBERS = ("progress", "wait_ms", "run_ms")
_TEXTS = ("message", "error_message")
_NAMES = ("worker_id", "host", "error_type")
_TIMES = ("submitted_at", "started_at", "finished_at", "updated_at")


class StateCodec:
    """States as bytes and as fields. Thread-safe."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def encode(self, fields: Fields) -> bytes:
        return self._codec.encode_fields(fields, "JobState")

    def decode(self, value: bytes) -> Fields:
        """The fields of a state that this tracker wrote or has taken in."""
        fields = self._codec.fields(value, "JobState")
        fields["state"] = State(fields["state"])
        return fields

    def model(self, value: bytes) -> JobState:
        return self._codec.decode(value, JobState)

    def take_in(self, key: bytes, value: bytes, now: int) -> tuple[Fields, bytes]:
        """The state of a record of `jobs.states` and its bytes, within bounds; `now` in microseconds since 1970.

        Raises `DecodeError` for what is no state of this key, and `RegistryUnavailable`.
        """
        fields = self._codec.fields(value, "JobState")
        try:
            bounded = _within_bounds(fields, key, now)
        except DecodeError:
            raise
        except Exception as error:
            # A schema of somebody's own may give a field any type.
            raise DecodeError(f"not a JobState: {type(error).__name__}") from error
        return bounded, value if bounded == fields and len(value) <= bounds.MAX_STATE_BYTES else self.encode(bounded)


def _within_bounds(fields: dict[str, Any], key: bytes, now: int) -> Fields:
    if fields["job_id"].encode() != key or not bounds.JOB_ID.fullmatch(fields["job_id"]):
        raise DecodeError("the record's key is not its job_id, or not a UUID in lower case")
    execution_id, latest = fields["execution_id"], now + bounds.CLOCKS_APART_US
    ids = (fields["tenant"], fields["job_type"], fields["lane"], execution_id or "")
    if any(len(each) > bounds.MAX_ID for each in ids):
        raise DecodeError(f"tenant, job_type, lane or execution_id has more than {bounds.MAX_ID} characters")
    found = dict(fields)
    found["state"] = State(fields["state"])
    found["execution_id"] = execution_id or None
    found["labels"] = bounds.labels(fields["labels"])
    found["applied"] = [mark for mark in fields["applied"][-MAX_MARKS:] if len(mark) <= MAX_MARK]
    found.update({name: min(max(fields[name], 0), bounds.MAX_INT) for name in _INTS})
    found.update({name: bounds.finite(fields[name]) for name in _NUMBERS})
    found.update({name: bounds.text(fields[name]) for name in _TEXTS})
    found.update({name: bounds.name(fields[name]) for name in _NAMES})
    for name in _TIMES:
        if fields[name] is not None and not 0 <= fields[name] <= latest:
            found[name] = 0 if name == "submitted_at" else now
    if found["execution_id"] is not None and found["started_at"] is None:
        found["started_at"] = found["updated_at"]
    if found["state"].terminal and found["finished_at"] is None:
        # Without its end the state would never be evicted.
        found["finished_at"] = found["updated_at"]
    return found
