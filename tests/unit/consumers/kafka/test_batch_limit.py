"""The bounds of a transaction: smaller after a slow or an aborted one, and back again."""

from millstream.consumers.kafka.batch_limit import FEWEST_BYTES, BatchLimit

MB = 1024 * 1024


def test_a_slow_transaction_halves_the_bytes_of_the_next_until_they_are_written_in_time() -> None:
    limit = BatchLimit(10_000, 16 * MB, slow_after_s=5)
    link_bytes_per_s = MB // 2
    sizes = []
    for _ in range(6):
        size = limit.bytes
        sizes.append(size)
        if size / link_bytes_per_s > limit.slow_after_s:
            limit.slow(size)
        else:
            limit.fast()
    assert sizes[:4] == [16 * MB, 8 * MB, 4 * MB, 2 * MB]
    assert max(sizes[3:]) <= 4 * MB


def test_fast_transactions_restore_the_bounds() -> None:
    limit = BatchLimit(10_000, 16 * MB, slow_after_s=5)
    limit.aborted(64, MB)
    for _ in range(20):
        limit.fast()
    assert (limit.records, limit.bytes) == (10_000, 16 * MB)


def test_aborted_transactions_are_divided_down_to_one_record() -> None:
    limit = BatchLimit(10_000, 16 * MB, slow_after_s=5)
    attempts = 0
    while limit.records > 1:
        limit.aborted(limit.records, limit.bytes)
        attempts += 1
    assert attempts == 13
    assert limit.bytes >= FEWEST_BYTES
