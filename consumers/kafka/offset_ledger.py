"""Which offsets of a partition are done.

Offsets are taken in order and finished in any order. The ledger knows the watermark (everything below it is done) and
the finished offsets above it, and turns both into what a commit carries, so that after a crash nothing that had
finished runs again. It does no I/O and is not thread-safe: the poll thread owns it.
"""

import base64
import zlib
from collections import deque
from dataclasses import dataclass

import structlog

METADATA_LIMIT = 4095
"""Bytes of commit metadata that a broker accepts by default (`offset.metadata.max.bytes` is 4096)."""

_RUNS, _BITS = "m1r:", "m1b:"
_MAX_UNFINISHED = 1_000_000
_LARGEST_OFFSET = 2**63 - 1
_COMPACT_AFTER = 1000

log = structlog.get_logger(__name__)


class UnknownOffset(ValueError):
    """The offset was never taken, or is already finished."""


@dataclass(frozen=True)
class Checkpoint:
    """What to commit: `offset` is the next to read after a crash, `metadata` says what above it is done."""

    offset: int
    metadata: str = ""


class OffsetLedger:
    """The state of one partition during one assignment.

    `resumed` is the last commit, or None for a partition without one. Unknown or damaged metadata is ignored with
    a warning: what had finished above the offset runs again, which is better than a loss.
    """

    def __init__(self, resumed: Checkpoint | None = None, metadata_limit: int = METADATA_LIMIT) -> None:
        self._limit = metadata_limit
        self._order: deque[int] = deque()
        self._unfinished: set[int] = set()
        # Offsets that the assignment before left unfinished and that have not been delivered again yet.
        self._awaited: deque[int] = deque()
        self._next = resumed.offset if resumed else None
        self._last_taken = -1
        self._resumed_end = -1
        self._metadata_bytes = 0
        if resumed and resumed.metadata:
            self._resume(resumed)

    @property
    def in_flight(self) -> int:
        """How many offsets are taken and not finished."""
        return len(self._unfinished) - len(self._awaited)

    @property
    def next(self) -> int | None:
        """The next offset to read; None before anything was read or committed."""
        return self._next

    @property
    def nearly_full(self) -> bool:
        """Whether the last checkpoint's metadata came near the limit: take no more until the watermark moves."""
        return self._metadata_bytes > self._limit * 0.75

    def take(self, offset: int) -> bool:
        """Note that `offset` was delivered. Offsets arrive ascending; gaps (markers, aborted records) are done.

        Returns False when it must not run again: it had finished before the last crash, or the client, having gone back
        to an older position, delivers it once more.
        """
        if offset <= self._last_taken:
            return False
        self._last_taken = offset
        # Unfinished offsets that are not delivered any more were deleted by retention.
        while self._awaited and self._awaited[0] < offset:
            self._unfinished.discard(self._awaited.popleft())
        self._next = max(self._next or 0, offset + 1)
        if offset < self._resumed_end:
            if self._awaited and self._awaited[0] == offset:
                self._awaited.popleft()
                return True
            return False
        self._order.append(offset)
        self._unfinished.add(offset)
        if len(self._order) > 2 * len(self._unfinished) + _COMPACT_AFTER:
            # Millions of offsets may finish above one job that runs for hours.
            self._order = deque(each for each in self._order if each in self._unfinished)
        return True

    def finish(self, offset: int) -> None:
        """Note that `offset` has its outcome. Raises `UnknownOffset` if it was never taken or already finished."""
        if offset not in self._unfinished or offset > self._last_taken:
            raise UnknownOffset(f"offset {offset} is not in flight")
        self._unfinished.remove(offset)

    def checkpoint(self) -> Checkpoint | None:
        """The commit to write now; None if nothing was ever read or committed."""
        while self._order and self._order[0] not in self._unfinished:
            self._order.popleft()
        if not self._order:
            self._metadata_bytes = 0
            return None if self._next is None else Checkpoint(max(self._next, self._resumed_end))
        watermark = self._order[0]
        end = max(self._next or 0, self._resumed_end)
        metadata = _encode(self._unfinished, watermark, end)
        self._metadata_bytes = len(metadata)
        while len(metadata) > self._limit:
            # Leaving out the newest completions costs duplicates after a crash, never a loss.
            end = watermark + (end - watermark) // 2
            metadata = _encode({offset for offset in self._unfinished if offset < end}, watermark, end)
        return Checkpoint(watermark, metadata)

    def _resume(self, resumed: Checkpoint) -> None:
        try:
            unfinished, end = _decode(resumed.metadata, resumed.offset)
        except ValueError as error:
            log.warning("commit_metadata_ignored", metadata=resumed.metadata[:40], reason=str(error))
            return
        self._order.extend(unfinished)
        self._awaited.extend(unfinished)
        self._unfinished.update(unfinished)
        self._resumed_end = end


def _encode(unfinished: set[int], start: int, end: int) -> str:
    """The unfinished offsets of [start, end) as text: the shorter of run lengths and a bitmap, or run lengths without
    trying the bitmap where the range is so wide that it would be much longer."""
    if len(unfinished) == end - start:
        return ""
    ordered = sorted(unfinished)
    runs = b"".join(map(_varint, _run_lengths(ordered, end)))
    text = _RUNS + base64.b85encode(zlib.compress(runs, 9)).decode()
    if end - start > 32 * len(runs):
        return text
    bits = bytearray((end - start + 7) // 8)
    for offset in ordered:
        bits[(offset - start) >> 3] |= 1 << ((offset - start) & 7)
    bitmap = _BITS + base64.b85encode(zlib.compress(_varint(end - start) + bytes(bits), 9)).decode()
    return min(text, bitmap, key=len)


def _run_lengths(ordered: list[int], end: int) -> list[int]:
    """Lengths of the alternating runs of unfinished and finished offsets, from the first unfinished one to `end`."""
    lengths = []
    run_start = run_end = ordered[0]
    for offset in ordered:
        if offset != run_end:
            lengths += [run_end - run_start, offset - run_end]
            run_start = offset
        run_end = offset + 1
    return [*lengths, run_end - run_start, end - run_end]


def _decode(metadata: str, start: int) -> tuple[list[int], int]:
    """The unfinished offsets, ascending, and the end of the range. Raises ValueError for text of another format."""
    kind, text = metadata[:4], metadata[4:]
    if kind not in (_RUNS, _BITS):
        raise ValueError("unknown version")
    try:
        numbers = zlib.decompress(base64.b85decode(text))
    except (ValueError, zlib.error) as error:
        raise ValueError(f"damaged: {error}") from error
    unfinished: list[int] = []
    if kind == _RUNS:
        offset, at, open_run = start, 0, True
        while at < len(numbers):
            length, at = _read_varint(numbers, at)
            if offset + length > _LARGEST_OFFSET:
                raise ValueError(f"damaged: it contains offset {offset + length}")
            if open_run:
                _check_count(len(unfinished) + length)
                unfinished.extend(range(offset, offset + length))
            offset, open_run = offset + length, not open_run
        return unfinished, offset
    width, at = _read_varint(numbers, 0)
    bits = numbers[at:]
    if len(bits) != (width + 7) // 8:
        raise ValueError("damaged: the bitmap does not have the length that it declares")
    _check_count(int.from_bytes(bits, "little").bit_count())
    return [start + index for index in range(width) if bits[index >> 3] >> (index & 7) & 1], start + width


def _check_count(unfinished: int) -> None:
    if unfinished > _MAX_UNFINISHED:
        raise ValueError(f"damaged: it contains {unfinished} unfinished offsets")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise ValueError("damaged: a number ends early")
