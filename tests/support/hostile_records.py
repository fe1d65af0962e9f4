"""Records on the lanes that no client of ours writes: wrong bytes, impossible lengths, values beyond all bounds."""

import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

from millstream.schemas import Codec
from millstream.schemas.codec import HEADER
from millstream.schemas.ids import new_id
from millstream.schemas.partial_encoder import long
from millstream.schemas.registry import pinned_schemas

CODEC = Codec()
YEAR_1, YEAR_9999 = -62_135_596_800_000_000, 253_402_300_799_999_999
_NOW = 1_790_000_000_000_000
_FIELDS = (
    "job_id",
    "tenant",
    "job_type",
    "lane",
    "ordering_key",
    "source",
    "submitted_at",
    "traceparent",
    "labels",
    "attempt",
    "max_attempts",
    "not_before",
    "deadline",
    "timeout_ms",
    "content_type",
    "payload",
)


class HostileRecord(NamedTuple):
    """A record, and whether it is a request all the same, whose job has an outcome."""

    name: str
    key: bytes | None
    value: bytes | None
    runs: bool = False


def text(content: bytes | str) -> bytes:
    """A text or bytes in Avro."""
    raw = content.encode() if isinstance(content, str) else content
    return long(len(raw)) + raw


def labels(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A map of texts in Avro, in one block."""
    return long(len(pairs)) + b"".join(text(name) + text(value) for name, value in pairs) + long(0)


def at(microseconds: int) -> bytes:
    """An optional moment that is there."""
    return b"\x02" + long(microseconds)


def raw_request(of_type: str = "noop", /, **fields: bytes) -> bytes:
    """A request with the given bytes in place of some of its fields."""
    parts = {
        "job_id": text(new_id()),
        "tenant": text("mallory"),
        "job_type": text(of_type),
        "lane": text("default"),
        "ordering_key": text(""),
        "source": text(""),
        "submitted_at": long(_NOW),
        "traceparent": text(""),
        "labels": long(0),
        "attempt": long(1),
        "max_attempts": long(1),
        "not_before": b"\0",
        "deadline": b"\0",
        "timeout_ms": b"\0",
        "content_type": text("application/json"),
        "payload": text("null"),
        **fields,
    }
    return CODEC.header("JobRequest") + b"".join(parts[name] for name in _FIELDS)


def hostile_records() -> list[HostileRecord]:
    """One of each kind; none is larger than a broker accepts by default."""
    found = [
        HostileRecord("tombstone", b"k", None),
        HostileRecord("neither key nor value", None, None),
        HostileRecord("empty", b"k", b""),
        HostileRecord("no header", b"\xff\xfe", b"nonsense"),
        HostileRecord("header alone", None, CODEC.header("JobRequest")),
        HostileRecord("key of 900 kB and nonsense", b"k" * 900_000, b"nonsense"),
        HostileRecord("key of 900 kB and a request", b"\xff" * 900_000, raw_request(), runs=True),
        HostileRecord("schema id far away", None, HEADER.pack(0, 2**31) + b"abc"),
        HostileRecord("schema of an event", None, struct.pack(">bI", 0, _id_of("JobEvent")) + b"abc"),
        HostileRecord("payload longer than the record", None, raw_request(payload=long(2**40) + b"{}")),
        HostileRecord("payload of negative length", None, raw_request(payload=long(-5))),
        HostileRecord("payload of 2**63 - 1 bytes", None, raw_request(payload=long(2**63 - 1))),
        HostileRecord("number without end", None, CODEC.header("JobRequest") + b"\xff" * 900_000),
        HostileRecord("payload that is not UTF-8", None, raw_request(payload=text(b"\xff\xfe")), runs=True),
        HostileRecord("bytes behind the end", None, raw_request() + b"more", runs=True),
        HostileRecord("2**60 labels", None, raw_request(labels=long(2**60) + text("a") + text("b"))),
        HostileRecord("33 labels", None, raw_request(labels=labels([(b"%d" % n, b"") for n in range(33)]))),
        HostileRecord("900 kB of labels", None, raw_request(labels=labels([(b"a", b"x" * 900_000)]))),
        HostileRecord("label with a name of 900 kB", None, raw_request(labels=labels([(b"x" * 900_000, b"")]))),
        HostileRecord("one label 200,000 times", None, raw_request(labels=labels([(b"", b"")] * 200_000)), runs=True),
        HostileRecord("attempt 2**31", None, raw_request(attempt=long(2**31), max_attempts=long(2**31))),
        HostileRecord("attempt 2**62", None, raw_request(attempt=long(2**62), max_attempts=long(2**62))),
        HostileRecord("max_attempts 2**40", None, raw_request("fails", max_attempts=long(2**40))),
        HostileRecord("attempt 0", None, raw_request(attempt=long(0))),
        HostileRecord("attempt -1", None, raw_request(attempt=long(-1))),
        HostileRecord("content type of 900 kB", None, raw_request(content_type=text("x" * 900_000))),
        HostileRecord("source of 900 kB", None, raw_request(source=text("x" * 900_000))),
        HostileRecord("ordering key of 900 kB", None, raw_request(ordering_key=text("x" * 900_000))),
        HostileRecord("tenant of 900 kB", None, raw_request(tenant=text("x" * 900_000))),
        HostileRecord("time before year 1", None, raw_request(submitted_at=long(YEAR_1 - 1))),
        HostileRecord("time after year 9999", None, raw_request(submitted_at=long(YEAR_9999 + 1))),
        HostileRecord("deadline of 2**63 - 1", None, raw_request(deadline=at(2**63 - 1))),
        HostileRecord("branch that the union has not", None, raw_request(deadline=b"\x04")),
        HostileRecord("timeout of 0", None, raw_request(timeout_ms=b"\x02" + long(0))),
        HostileRecord("trace that is none", None, raw_request(traceparent=text("x" * 55))),
    ]
    last = long(2**31 - 1)
    runs = {
        "last of all attempts": raw_request("fails", attempt=last, max_attempts=last),
        "submitted in year 1": raw_request(submitted_at=long(YEAR_1)),
        "submitted in year 9999": raw_request(submitted_at=long(YEAR_9999)),
        "deadline in year 1": raw_request(deadline=at(YEAR_1)),
        "deadline in year 9999": raw_request(deadline=at(YEAR_9999)),
        "longest timeout": raw_request(timeout_ms=b"\x02" + long(2**63 - 1)),
        "ordering key of odd texts": raw_request(ordering_key=text("\0\n\x1b[31m=\u202e\ue000" * 20)),
        "labels of odd texts": raw_request(labels=labels([(b"", b"\0"), (b"\n=\x1b", "\u202e".encode())])),
        "lane that is none": raw_request(lane=text("nowhere")),
        "type that nobody has": raw_request("nobody.has.it"),
        "no trace at all": raw_request(traceparent=text(f"ff-{'0' * 32}-{'0' * 16}-ff")),
    }
    found += [HostileRecord(name, None, value, runs=True) for name, value in runs.items()]
    for name in ("job_id", "tenant", "job_type", "lane", "ordering_key", "source", "traceparent", "content_type"):
        found.append(HostileRecord(f"{name} that is not UTF-8", b"\xb9", raw_request(**{name: text(b"\xb9bad")})))
        found.append(HostileRecord(f"{name} of negative length", None, raw_request(**{name: long(-3)})))
    for name in ("job_id", "tenant", "job_type", "lane"):
        found.append(HostileRecord(f"empty {name}", None, raw_request(**{name: text("")})))
        found.append(HostileRecord(f"{name} with a line break", None, raw_request(**{name: text("a\n")})))
    return found


def mutated(value: bytes, draw: random.Random) -> bytes:
    """A request with one to three changes: bytes changed, numbers made extreme, parts cut out or put in."""
    data = bytearray(value)
    extremes = [0, -1, 2**31 - 1, 2**31, 2**62, 2**63 - 1, -(2**63), YEAR_1, YEAR_9999]
    for _ in range(draw.randint(1, 3)):
        where, kind = draw.randrange(len(data) + 1), draw.randrange(4)
        if kind == 0:
            data[where : where + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            data[where : where + 1] = long(draw.choice(extremes))
        elif kind == 2:
            del data[where : where + draw.randint(1, 8)]
        else:
            data[where:where] = draw.randbytes(draw.randint(1, 8))
        if not data:
            break
    return bytes(data)


def mutations(seed: int, count: int) -> Iterator[bytes]:
    """Values that begin as requests, most of them none any more."""
    draw = random.Random(seed)
    for _ in range(count):
        yield mutated(
            raw_request(tenant=text(f"t{draw.randrange(3)}"), ordering_key=text(f"k{draw.randrange(3)}")), draw
        )


def of_newer_release() -> bytes:
    """A record that claims to be of the next release."""
    return HEADER.pack(0, max(pinned_schemas()) + 1) + b"a body of the next release"


def _id_of(record: str) -> int:
    return CODEC.registry.id_of(record)
