"""What is written in place of a record that the broker rejects for its size.

A dead letter or an event is written without what may be long. A request, which is another attempt or one that was moved
to the overflow topic, cannot be shortened: its job is given up.
"""

import math
from collections.abc import Sequence

import structlog

from millstream.consumers.dead_letters import KEY_LIMIT, dead_letter, shortened
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.line_rate import LineRate
from millstream.schemas import Codec, DeadLetter, DeadReason, EventKind, JobEvent, JobRequest, TopicCatalogue

log = structlog.get_logger(__name__)


class Oversized:
    """Replaces records. Does no I/O."""

    def __init__(self, topics: TopicCatalogue, codec: Codec, worker_id: str) -> None:
        self._topics = topics
        self._codec = codec
        self._worker_id = worker_id
        self._lines = LineRate(1.0, most=10)

    def fitting(self, records: Sequence[OutgoingRecord], too_large: Sequence[OutgoingRecord]) -> list[OutgoingRecord]:
        """`records`, with a replacement for each that is as large as one of its topic in `too_large`."""
        rejected: dict[str, int] = {}
        for each in too_large:
            rejected[each.topic] = min(each.size, rejected.get(each.topic, each.size))
        written: list[OutgoingRecord] = []
        for each in records:
            fits = each.size < rejected.get(each.topic, math.inf)
            written += [each] if fits else self.replacement(each)
        return written

    def replacement(self, record: OutgoingRecord) -> list[OutgoingRecord]:
        """What to write instead of one record; the record itself when it cannot be made smaller."""
        if (left_out := self._lines.admit(record.topic)) is not None:
            log.error("record_too_large", topic=record.topic, bytes=record.size, left_out=left_out)
        if record.topic == self._topics.dead:
            letter = shortened(self._codec.decode(record.value, DeadLetter))
            if len(record.key or b"") > KEY_LIMIT:
                letter = letter.model_copy(update={"record_key": None})
                record = record._replace(key=None)
            return [_smaller(record, record._replace(value=self._codec.encode(letter)))]
        if record.topic == self._topics.events:
            event = self._codec.decode(record.value, JobEvent)
            less = event.model_copy(update={"stack": "", "labels": {}, "error_message": event.error_message[:200]})
            return [_smaller(record, record._replace(value=self._codec.encode(less)))]
        return self._give_up(record)

    def _give_up(self, record: OutgoingRecord) -> list[OutgoingRecord]:
        """The dead letter and the final events of a job whose next request does not fit."""
        request, read_from = self._codec.decode(record.value, JobRequest), record.assignment
        assert read_from is not None
        cause = {
            "error_type": "RequestTooLarge",
            "error_message": f"its request of {record.size:,} bytes is larger than {record.topic} accepts",
        }
        letter = dead_letter(
            DeadReason.TOO_LARGE,
            cause,
            worker_id=self._worker_id,
            topic=read_from.topic,
            partition=read_from.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            request=request,
        )
        shared = request.model_dump(include=set(JobEvent.model_fields))
        events = [
            JobEvent(**shared, **cause, kind=kind, final=kind is EventKind.FAILED, worker_id=self._worker_id)
            for kind in (EventKind.FAILED, EventKind.DEAD_LETTERED)
        ]
        key = request.job_id.encode()
        return [
            record._replace(topic=self._topics.dead, key=key, value=self._codec.encode(letter)),
            *(record._replace(topic=self._topics.events, key=key, value=self._codec.encode(each)) for each in events),
        ]


def _smaller(record: OutgoingRecord, less: OutgoingRecord) -> OutgoingRecord:
    return less if less.size < record.size else record
