"""Which offsets of a partition are done.

Offsets are taken in order and finished in any order. The ledger knows the watermark (everything below it is done) and
the finished offsets above it, and turns both into what a commit carries, so that after a crash nothing that had
finished runs again. It does no I/O and is not thread-safe: the poll thread owns it.

The metadata counts from the committed offset, so it is right at that offset of that log and nowhere else. A tool that
copies commits to another cluster copies the metadata and translates the offset. Therefore the metadata carries a
checksum of its place, behind the compressed text, where releases that do not know it ignore it; metadata without one
was written by such a release, on this cluster.
"""

import base64
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

METADATA_LIMIT = 4095
"""Bytes of commit metadata that a broker accepts by default (`offset.metadata.max.bytes` is 4096)."""

FETCH_MARGIN = 500
"""Offsets that may still be taken after the ledger has become nearly full: one fetch."""

RESUME_BELOW = 0.75

_RUNS, _BITS = "m1r:", "m1b:"
_MAX_UNFINISHED = 1_000_000
_LARGEST_OFFSET = 2**63 - 1
_COMPACT_AFTER = 1000
_ENVELOPE = 40
"""Bytes of metadata besides the encoded offsets: version, checksums, and what compression adds to random bytes."""

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

    `resumed` is the last commit, or None for a partition without one. `place` names the log: cluster, topic and
    partition. Metadata that is unknown, damaged or of another place is ignored with a warning: what had finished above
    the offset runs again, which is better than a loss. `metadata_limit`: the most bytes of metadata that the broker
    accepts; may be lowered.
    """

    def __init__(
        self, resumed: Checkpoint | None = None, metadata_limit: int = METADATA_LIMIT, place: str = ""
    ) -> None:
        self.metadata_limit = metadata_limit
        self._place = place
        self._full = False
        self._order: deque[int] = deque()
        self._unfinished: set[int] = set()
        # Offsets that the assignment before left unfinished and that have not been delivered again yet.
        self._awaited: deque[int] = deque()
        self._next = resumed.offset if resumed else None
        self._resumed_start = resumed.offset if resumed else 0
        self._last_taken = -1
        self.finished_ahead: set[int] = set()
        """Offsets that were finished elsewhere before they were delivered here, and are in no commit yet."""
        self._resumed_end = -1
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
    def next_after_resume(self) -> int:
        """The end of what the resumed commit says; -1 when it says nothing above its offset."""
        return self._resumed_end

    @property
    def nearly_full(self) -> bool:
        """Whether the offsets in flight, finished in the most unfavourable order, could come near the most metadata
        that a commit may have: take no more until the watermark moves or some have finished. So what finished is never
        left out of a commit."""
        if not self._order:
            return False
        width = (self._next or 0) - self._order[0]
        limit = self.metadata_limit * (RESUME_BELOW if self._full else 1.0)
        self._full = _most_bytes(len(self._unfinished) + FETCH_MARGIN, width + FETCH_MARGIN) > limit
        return self._full

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
        if self.finished_ahead and offset in self.finished_ahead:
            self.finished_ahead.remove(offset)
            return False
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

    def skip(self, offset: int) -> int:
        """Note, before anything was delivered, that all below `offset` was deleted. Returns how many offsets of these
        are not known to be finished."""
        missing = max(0, offset - max(self._next or 0, self._resumed_end))
        while self._awaited and self._awaited[0] < offset:
            self._unfinished.discard(self._awaited.popleft())
            missing += 1
        self._next = max(self._next or 0, offset)
        return missing

    def finish(self, offset: int) -> None:
        """Note that `offset` has its outcome. Raises `UnknownOffset` if it was never taken or already finished."""
        if offset not in self._unfinished or offset > self._last_taken:
            raise UnknownOffset(f"offset {offset} is not in flight")
        self._unfinished.remove(offset)

    def reopen(self, offsets: Iterable[int]) -> None:
        """Undo `finish` of these offsets. Only for offsets that no commit holds yet."""
        opened = set(offsets)
        self._unfinished |= opened
        self._order = deque(sorted(opened.union(self._order)))

    def is_finished(self, offset: int) -> bool:
        """Whether `offset` is known to be finished, whether or not it was delivered here."""
        known = max(self._resumed_end, self._last_taken + 1)
        start = self._resumed_start
        return offset in self.finished_ahead or offset < start or (offset < known and offset not in self._unfinished)

    def finish_elsewhere(self, offset: int) -> None:
        """Note that another worker has written the outcome of an offset that was not delivered here yet."""
        if self.is_finished(offset):
            return
        if offset in self._unfinished:
            self._awaited.remove(offset)
            self._unfinished.remove(offset)
        else:
            self.finished_ahead.add(offset)

    def checkpoint(self) -> Checkpoint | None:
        """The commit to write now; None if nothing was ever read or committed."""
        while self._order and self._order[0] not in self._unfinished:
            self._order.popleft()
        if not self._order:
            return None if self._next is None else Checkpoint(max(self._next, self._resumed_end))
        watermark = self._order[0]
        end = max(self._next or 0, self._resumed_end)
        metadata = _encode(self._unfinished, watermark, end, self._place)
        if len(metadata) > self.metadata_limit:
            # Only after the limit was lowered, or when offsets jump: what is left out may run again after a crash.
            end = min(end, watermark + _widest_bitmap(self.metadata_limit))
            unfinished = {offset for offset in self._unfinished if offset < end}
            metadata = _encode(unfinished, watermark, end, self._place)
            log.warning("finished_offsets_left_out", limit=self.metadata_limit, from_offset=end)
        return Checkpoint(watermark, metadata)

    def _resume(self, resumed: Checkpoint) -> None:
        try:
            unfinished, end, is_here = _decode(resumed.metadata, resumed.offset, self._place)
        except ValueError as error:
            self._ignore(resumed, str(error))
            return
        if not is_here:
            finished = end - resumed.offset - len(unfinished)
            self._ignore(resumed, "it was written for another offset, partition or cluster", finished)
            return
        self._order.extend(unfinished)
        self._awaited.extend(unfinished)
        self._unfinished.update(unfinished)
        self._resumed_end = end

    def _ignore(self, resumed: Checkpoint, reason: str, finished: int | None = None) -> None:
        """Say that metadata is ignored. `finished`: how many offsets it says are finished, if it can be read."""
        log.warning(
            "commit_metadata_ignored",
            place=self._place,
            offset=resumed.offset,
            metadata=resumed.metadata[:40],
            reason=reason,
            finished=finished,
            action="jobs that had finished above the offset run again",
        )


def _most_bytes(unfinished: int, width: int) -> float:
    """The most bytes of metadata for so many unfinished offsets in a range of `width` offsets."""
    bitmap = width / 8
    gap_bytes = 1 + max(0, (width // max(1, unfinished)).bit_length() - 1) // 7
    runs = unfinished * (1 + gap_bytes)
    return 1.25 * min(bitmap, runs) + _ENVELOPE


def _widest_bitmap(limit: int) -> int:
    """How many offsets a bitmap within `limit` bytes of metadata covers, whatever they are."""
    return max(8, int((limit - _ENVELOPE) / 1.25) * 8)


def _encode(unfinished: set[int], start: int, end: int, place: str) -> str:
    """The unfinished offsets of [start, end) as text: run lengths, or a bitmap where that is likely to be shorter."""
    if len(unfinished) == end - start:
        return ""
    ordered = sorted(unfinished)
    width = end - start
    if 16 * len(ordered) <= width:
        return _text(_RUNS, b"".join(map(_varint, _run_lengths(ordered, end))), start, place)
    bits = bytearray((width + 7) // 8)
    for offset in ordered:
        bits[(offset - start) >> 3] |= 1 << ((offset - start) & 7)
    bitmap = _text(_BITS, _varint(width) + bytes(bits), start, place)
    if len(bitmap) < 256:
        return bitmap
    # Long runs compress far better than their bitmap; neighbours that finish at random do not.
    return min(bitmap, _text(_RUNS, b"".join(map(_varint, _run_lengths(ordered, end))), start, place), key=len)


def _text(kind: str, numbers: bytes, start: int, place: str) -> str:
    return kind + base64.b85encode(zlib.compress(numbers, 6) + _address(place, start)).decode()


def _address(place: str, start: int) -> bytes:
    """A checksum of where a commit is."""
    return zlib.crc32(f"{place}@{start}".encode()).to_bytes(4, "big")


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


def _decode(metadata: str, start: int, place: str) -> tuple[list[int], int, bool]:
    """The unfinished offsets, ascending, the end of the range, and whether the text was written for this place. Raises
    ValueError for text of another format."""
    kind, text = metadata[:4], metadata[4:]
    if kind not in (_RUNS, _BITS):
        raise ValueError("unknown version")
    stream = zlib.decompressobj()
    try:
        numbers = stream.decompress(base64.b85decode(text))
    except (ValueError, zlib.error) as error:
        raise ValueError(f"damaged: {error}") from error
    if not stream.eof:
        raise ValueError("damaged: it ends early")
    is_here = stream.unused_data in (b"", _address(place, start))
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
        return unfinished, offset, is_here
    width, at = _read_varint(numbers, 0)
    bits = numbers[at:]
    if len(bits) != (width + 7) // 8:
        raise ValueError("damaged: the bitmap does not have the length that it declares")
    _check_count(int.from_bytes(bits, "little").bit_count())
    unfinished = [start + index for index in range(width) if bits[index >> 3] >> (index & 7) & 1]
    return unfinished, start + width, is_here


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
