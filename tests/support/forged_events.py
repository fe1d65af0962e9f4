"""Events of a tenant who knows all of the sink's code and wants its own rows in the place of another tenant's.

It chooses every byte of its own records and where they stand in the log, knows the victim's record and place, and knows
the marks of earlier files. It does not know the marks of the file that its records will be in.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from millstream.consumers.sink.avro_file import HEADER_BYTES, MARK_BYTES, AvroFile, varint
from millstream.schemas import EventKind, JobRequest, job_part
from millstream.schemas.registry import current_schema
from tests.support.job_events import MAKE

VICTIM = "victim"
FORGER = "forger"
NO_DUE_AT = b"\x00"
FILE = AvroFile(current_schema("JobEvent"))


@dataclass(frozen=True)
class Forgery:
    """Consecutive records of a partition. `victims`: the indices of those that are the victim's, each a valid event."""

    name: str
    values: list[bytes]
    victims: list[int]


def event(tenant: str, message: str = "") -> bytes:
    """A valid event of this tenant as it is on the wire. It ends with `message`, four empty strings and `due_at`."""
    job = JobRequest(tenant=tenant, job_type="demo.sleep")
    return MAKE.event(job_part(job), MAKE.attempt_part({}), EventKind.SUBMITTED, job.submitted_at, message=message)


def forgeries(partition: int, first_offset: int, known_mark: bytes) -> Iterator[Forgery]:
    """Attempts at the record at `first_offset` and those that follow it. `known_mark`: the start mark of an earlier
    file, which the forger takes for that of this one."""
    start = known_mark

    def behind(offset: int) -> bytes:
        """What the sink writes between this record and the next, with this mark."""
        built = FILE.build(partition, [offset, offset + 1], [b"", b""], start)
        after = built[built.index(start) + MARK_BYTES :]
        return after[: after.index(start) + MARK_BYTES]

    victim = event(VICTIM, "true")
    opened = event(FORGER)[: -len(NO_DUE_AT) - 1]  # without `stack` and `due_at`
    fake = event(VICTIM, "forged")

    swallowed = len(behind(first_offset) + victim + behind(first_offset + 1)) + HEADER_BYTES
    closing = NO_DUE_AT + behind(first_offset) + fake + behind(first_offset + 1) + event(FORGER)
    for name, extra in (("swallow and bring the rows that are missing", 0), ("swallow one byte less", -1)):
        first = opened + varint(swallowed + extra)
        yield Forgery(name, [first, victim, event(FORGER)[:HEADER_BYTES] + closing], [1])
    yield Forgery("swallow the last record of the file", [victim, opened + varint(swallowed), victim], [0, 2])
    yield Forgery("swallow all that follows", [opened + varint(2**31 - 1), victim, victim], [1, 2])
    yield Forgery("a whole row more", [event(FORGER) + behind(first_offset) + fake, victim], [1])
    yield Forgery(
        "marks of an earlier file again and again", [event(FORGER) + (behind(first_offset) * 50), victim], [1]
    )
    yield Forgery("nothing but marks", [event(FORGER)[:HEADER_BYTES] + (start + start[::-1]) * 40, victim], [1])
    yield Forgery("an open number before the place", [event(FORGER)[:-1] + b"\x82", victim], [1])
    yield Forgery("an open number after the body", [event(FORGER) + b"\x82", victim], [1])
    for cut in range(6, len(event(FORGER)), 23):
        yield Forgery(f"cut at {cut}", [event(FORGER)[:cut], victim, event(FORGER)[:cut]], [1])
    sync = FILE.build(0, [], [])[-MARK_BYTES:]
    block = varint(1) + varint(len(start + fake + behind(first_offset + 1)) - MARK_BYTES)
    block += start + fake + behind(first_offset + 1)[:-MARK_BYTES] + sync
    yield Forgery("the end of the block and a block of its own", [event(FORGER)[:-1] + sync + block, victim], [1])
    # A map may say how many bytes its entries take, for readers that skip it.
    labels_at = event(FORGER).index(b"demo.sleep")
    skip = event(FORGER)[:labels_at] + b"demo.sleep" + b"\x03" + varint(len(victim) + 60) + event(FORGER)[labels_at:]
    yield Forgery("a length that is to be skipped", [skip, victim], [1])
