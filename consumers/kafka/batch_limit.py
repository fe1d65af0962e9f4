"""How much one transaction holds. Pure."""

FEWEST_BYTES = 64 * 1024


class BatchLimit:
    """Bounds of one transaction that adapt to what transactions took.

    bytes(after a transaction of t s) = bytes / 2 for t > `slow_after_s`, else 2 * bytes, up to `most_bytes`: on a link
    of 0.5 MB/s with `slow_after_s` 5 the bound goes 16, 8, 4, 2 MB and stays about there. An aborted transaction is
    written again in parts of half its size, down to the records of one offset, so that one that can never be written is
    found among thousands in a dozen attempts. At least the records of one offset are always written.
    """

    def __init__(self, most_records: int, most_bytes: int, slow_after_s: float) -> None:
        self.records = self._most_records = most_records
        self.bytes = self._most_bytes = most_bytes
        self.slow_after_s = slow_after_s

    def slow(self, size: int) -> None:
        """A transaction of `size` bytes was committed, after more than `slow_after_s` seconds."""
        self.bytes = max(FEWEST_BYTES, size // 2)

    def fast(self) -> None:
        """A transaction was committed in time."""
        self.records = min(self._most_records, 2 * self.records)
        self.bytes = min(self._most_bytes, 2 * self.bytes)

    def aborted(self, records: int, size: int) -> None:
        """A transaction of so many records and bytes was aborted."""
        self.records = max(1, min(self.records, records // 2))
        self.bytes = max(FEWEST_BYTES, min(self.bytes, size // 2))
