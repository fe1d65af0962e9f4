"""Records that nobody should write: of every kind that the topics carry, with extreme values and damaged bytes."""

import io
import math
import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import fastavro

from millstream.schemas import Codec, TopicCatalogue
from millstream.schemas.codec import HEADER, reader_schema
from millstream.schemas.ids import new_id
from millstream.schemas.registry import current_schema
from millstream.schemas.topics import DELAY_TIERS

TEXTS = (
    "",
    "\0",
    "mid\0dle",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202etxt.exe",
    "line\r\nforged=line",
    "<script>alert(1)</script>",
    "![](http://x/y.png)`````",
    "[/bold][link=file:///x]",
    "=HYPERLINK(1)",
    "'; DROP TABLE job_events; --",
    "back\\slash`tick",
    "key=value:1~2",
    "../../etc",
    "\U0001f4a3" * 300,
)
NUMBERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**53, 2**62, 2**63 - 1, -(2**63))
FLOATS = (math.nan, math.inf, -math.inf, -0.0, -1.0, 1e308, 5e-324)
MOMENTS = (0, -1, 1, -62_135_596_800_000_000, 253_402_300_799_999_999, 4_102_444_800_000_000, 2**62, -(2**62))
"""Microseconds since 1970: years 1, 9999 and beyond what a calendar has."""

LONG = 900_000
DAMAGED = 0.5
"""The share of records whose bytes are damaged."""

TOMBSTONES = 0.02
HOSTILE_FIELDS = 0.25
"""The share of fields with an extreme value; with every field extreme no record would get past the first check."""


class RandomRecord(NamedTuple):
    """A record to write to `topic`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


class RandomRecords:
    """Iterating makes records without end. Equal seeds make equal records, but for ids and times.

    They go to every topic that has a reader, most to `jobs.events`. `long_values`: how many of all records may have a
    value of about 900 kB.
    """

    def __init__(self, topics: TopicCatalogue, seed: int, *, long_values: int = 50) -> None:
        self._dice = random.Random(seed)
        self._codec = Codec()
        self._long_values = long_values
        unread = {topics.delay(tier) for tier in DELAY_TIERS}
        self._kinds = {topic.name: topic.record for topic in topics if topic.name not in unread}
        self._compacted = {topic.name for topic in topics if topic.cleanup == "compact"}
        self._topics = list(self._kinds)
        weights = {"JobRequest": 3, "JobEvent": 20}
        self._weights = [weights.get(kind, 3) for kind in self._kinds.values()]

    def __iter__(self) -> Iterator[RandomRecord]:
        while True:
            yield self._record()

    def _record(self) -> RandomRecord:
        dice = self._dice
        (topic,) = dice.choices(self._topics, self._weights)
        value: bytes | None = self._value(self._kinds[topic])
        drawn = dice.random()
        if drawn < DAMAGED:
            value = self._damaged(value or b"")
        elif drawn < DAMAGED + TOMBSTONES:
            value = None
        headers: list[tuple[str, str | bytes | None]] = []
        if dice.random() < 0.3:
            headers = [(dice.choice(("traceparent", "x", "\u00fc")), dice.choice((None, b"", b"\xff" * 100)))] * 5
        return RandomRecord(topic, self._key(topic in self._compacted), value, headers)

    def _key(self, compacted: bool) -> bytes | None:
        dice = self._dice
        keys = (b"", b"\xff\xfe", b"K" * 2_000, dice.randbytes(8))
        if dice.random() < 0.6:
            return new_id().encode()
        # A broker refuses a record without a key for a compacted topic.
        return dice.choice(keys if compacted else (None, *keys))

    def _value(self, kind: str) -> bytes:
        schema = current_schema(kind)
        datum = {field["name"]: self._field(field) for field in schema["fields"]}
        out = io.BytesIO()
        out.write(self._codec.header(kind))
        fastavro.schemaless_writer(out, reader_schema(kind), datum)
        return out.getvalue()

    def _field(self, field: dict[str, Any]) -> Any:
        if self._dice.random() < HOSTILE_FIELDS:
            return self._extreme(field["type"])
        return self._ordinary(field["name"], field["type"])

    def _ordinary(self, name: str, kind: Any) -> Any:
        """A value as a client of good will would write it."""
        if name in ("job_id", "event_id", "execution_id", "command_id", "change_id"):
            return new_id()
        values = {"tenant": "mallory", "job_type": "demo.sleep", "lane": "default", "attempt": 1, "max_attempts": 1,
                  "content_type": "application/json", "payload": b'{"seconds": 0.0}', "worker_id": "mallory-1",
                  "topic": "mallory", "target": "mallory", "interval_s": 1.0}  # fmt: skip
        if name in values:
            return values[name]
        if name.endswith("_at"):
            return int(datetime.now(UTC).timestamp() * 1_000_000)
        return self._plain(kind)

    def _plain(self, kind: Any) -> Any:
        if isinstance(kind, list):
            return None if "null" in kind else self._plain(kind[0])
        name = kind["type"] if isinstance(kind, dict) else kind
        if name == "enum":
            return self._dice.choice(kind["symbols"])
        plain: dict[str, Any] = {"string": "", "bytes": b"", "boolean": False, "int": 0, "long": 0, "double": 0.0,
                                 "float": 0.0, "map": {}, "array": [], "null": None}  # fmt: skip
        return plain[name]

    def _extreme(self, kind: Any) -> Any:
        dice = self._dice
        if isinstance(kind, list):
            return self._extreme(dice.choice(kind))
        name = kind["type"] if isinstance(kind, dict) else kind
        if name == "enum":
            return dice.choice(kind["symbols"])
        if name == "record":
            return {field["name"]: self._field(field) for field in kind["fields"]}
        if name == "map":
            entries = dice.choice((0, 40, 2_000)) if dice.random() < 0.02 else 1
            return {f"{self._text()[:100]}{number}": self._text()[:200] for number in range(entries)}
        if name == "array":
            return [self._extreme(kind["items"]) for _ in range(dice.choice((0, 1, 3, 200)))]
        if name == "long" and isinstance(kind, dict) and "logicalType" in kind:
            return dice.choice(MOMENTS)
        extremes: dict[str, Callable[[], Any]] = {
            "string": self._text,
            "bytes": lambda: dice.choice((b"", b"[" * 5_000, b"\xff\xfe", b'{"seconds": NaN}', b"null")),
            "boolean": lambda: dice.random() < 0.5,
            "int": lambda: dice.choice([number for number in NUMBERS if -(2**31) <= number < 2**31]),
            "long": lambda: dice.choice(NUMBERS),
            "double": lambda: dice.choice(FLOATS),
            "float": lambda: dice.choice(FLOATS),
            "null": lambda: None,
        }
        return extremes[name]()

    def _text(self) -> str:
        if self._long_values and self._dice.random() < 0.002:
            self._long_values -= 1
            return "L" * LONG
        return self._dice.choice(TEXTS) if self._dice.random() < 0.95 else "x" * 5_000

    def _damaged(self, value: bytes) -> bytes:
        dice, body = self._dice, bytearray(value)
        at = dice.randrange(HEADER.size, len(body)) if len(body) > HEADER.size else 0
        damage = dice.randrange(8)
        if damage == 0:
            return value[:at]
        if damage == 1:
            return value + dice.randbytes(dice.randrange(1, 50))
        if damage == 2:
            return struct.pack(">bI", dice.choice((0, 0, 1)), dice.choice((0, 1, 2, 5, 999, 2**32 - 1))) + value[5:]
        if damage == 3:
            # The length of whatever comes next, as an Avro varint of 2^31, 2^40 and 2^62, and one that never ends.
            lengths = (b"\x80" * 4 + b"\x10", b"\x80" * 5 + b"\x40", b"\x80" * 9 + b"\x01", b"\xff" * 11)
            body[at:at] = dice.choice(lengths)
        elif damage == 4:
            body[at:at] = b"\xff\xfe\x80\x00"
        elif damage == 5:
            return dice.randbytes(dice.randrange(300))
        elif damage == 6:
            body[at : at + 1] = bytes([dice.randrange(256)])
        else:
            for _ in range(dice.choice((1, 3, 20))):
                body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
        return bytes(body)
