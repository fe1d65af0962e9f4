"""A batch is the next records of a partition, within limits, whatever gaps its offsets have."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.sink.batch import BatchLimits, InsertBatch, PartitionBuffer
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.records import Record, Records

OLD = b"\x00\x00\x00\x00\x02"
NEW = b"\x00\x00\x00\x00\x09"

values = st.one_of(
    st.builds(lambda header, body: header + body, st.sampled_from([OLD, NEW]), st.binary(max_size=30)),
    st.none(),
    st.binary(max_size=8),
)
gaps_and_values = st.lists(st.tuples(st.integers(1, 5), values), min_size=1, max_size=60)
limits = st.builds(BatchLimits, st.integers(1, 20), st.integers(1, 200), st.just(0.0), st.just(1))


def records_of(gaps: list[tuple[int, bytes | None]], first: int = 0) -> list[Record]:
    records: list[Record] = []
    offset = first - 1
    for gap, value in gaps:
        offset += gap
        records.append((offset, b"key", value))
    return records


def all_batches(buffer: PartitionBuffer, limits: BatchLimits) -> list[InsertBatch]:
    batches = []
    while batch := buffer.cut(limits, now=100.0):
        batches.append(batch)
    return batches


@given(gaps_and_values, limits, st.data())
def test_batches_follow_each_other_without_overlap_or_gap_and_hold_every_record(
    gaps: list[tuple[int, bytes | None]], limits: BatchLimits, data: st.DataObject
) -> None:
    records = records_of(gaps, first=1000)
    buffer = PartitionBuffer(1000)
    batches, at = [], 0
    while at < len(records):
        step = data.draw(st.integers(1, len(records)))
        buffer.add(Records.of(records[at : at + step]), now=0.0)
        at += step
        batches += all_batches(buffer, limits)
    assert [r for batch in batches for r in batch.records] == records
    assert [b.range.start for b in batches] == [1000, *[b.range.end for b in batches[:-1]]]
    for batch in batches:
        assert all(batch.range.start <= offset < batch.range.end for offset, _, _ in batch.records)
        assert len(batch.records) <= limits.rows
        assert len(batch.records) == 1 or batch.size <= limits.bytes
        assert batch.size == sum(len(key or b"") + len(value or b"") for _, key, value in batch.records)
    assert buffer.size == 0


@given(gaps_and_values, limits)
def test_an_announced_range_is_cut_again_exactly_whatever_the_limits_are_now(
    gaps: list[tuple[int, bytes | None]], limits: BatchLimits
) -> None:
    records = records_of(gaps, first=50)
    first = PartitionBuffer(50)
    first.add(Records.of(records), now=0.0)
    announced = first.cut(BatchLimits(7, 100, 0.0, 1), now=1.0)
    assert announced is not None

    again = PartitionBuffer(50, exact_end=announced.range.end)
    for record in records:
        again.add(Records.of([record]), now=0.0)
    batches = all_batches(again, limits)
    assert batches[0] == replace(announced, repeated=True)
    assert [r for batch in batches for r in batch.records] == records


def test_an_announced_range_waits_until_its_end_was_read() -> None:
    buffer = PartitionBuffer(10, exact_end=20)
    buffer.add(Records.of([(10, None, OLD), (12, None, OLD)]), now=0.0)
    assert buffer.cut(BatchLimits(1, 1, 0.0, 1), now=99.0) is None
    buffer.reach(20)
    batch = buffer.cut(BatchLimits(1, 1, 0.0, 1), now=99.0)
    assert batch is not None
    assert batch.range == Intent(10, 20)
    assert batch.records.offsets == [10, 12]


def test_an_announced_range_that_retention_has_emptied_is_an_empty_batch() -> None:
    buffer = PartitionBuffer(10, exact_end=20)
    buffer.add(Records.of([(35, None, OLD)]), now=0.0)
    batch = buffer.cut(BatchLimits(10, 1000, 0.0, 1), now=1.0)
    assert batch == InsertBatch(Intent(10, 20), Records(), repeated=True)
    following = buffer.cut(BatchLimits(10, 1000, 0.0, 1), now=1.0)
    assert following is not None
    assert following.range == Intent(20, 36)


def test_nothing_is_cut_before_a_limit_is_met() -> None:
    buffer = PartitionBuffer(0)
    buffer.add(Records.of([(0, None, OLD)]), now=5.0)
    waiting = BatchLimits(rows=2, bytes=100, age_s=1.0, target_rows=2)
    assert buffer.cut(waiting, now=5.9) is None
    buffer.add(Records.of([(1, None, OLD)]), now=5.9)
    assert buffer.cut(waiting, now=5.9) is not None
    buffer.add(Records.of([(2, None, OLD)]), now=6.0)
    assert buffer.cut(waiting, now=7.0) is not None


def test_records_that_were_read_before_are_ignored() -> None:
    buffer = PartitionBuffer(5)
    buffer.add(Records.of([(3, None, OLD), (5, None, OLD), (6, None, OLD)]), now=0.0)
    buffer.add(Records.of([(6, None, OLD), (7, None, OLD)]), now=0.0)
    assert buffer.records.offsets == [5, 6, 7]


def test_a_partition_without_a_commit_starts_at_its_first_record() -> None:
    buffer = PartitionBuffer(None)
    assert buffer.cut(BatchLimits(1, 1, 0.0, 1), now=0.0) is None
    buffer.add(Records.of([(42, None, OLD)]), now=0.0)
    batch = buffer.cut(BatchLimits(1, 1, 0.0, 1), now=0.0)
    assert batch is not None
    assert batch.range == Intent(42, 43)


def test_the_target_number_of_rows_is_cut_at_any_age_and_as_large_as_it_has_grown() -> None:
    buffer = PartitionBuffer(0)
    limits = BatchLimits(rows=100, bytes=1000, age_s=9.0, target_rows=3)
    buffer.add(Records.of([(0, None, OLD), (1, None, OLD)]), now=0.0)
    assert buffer.cut(limits, now=0.0) is None
    buffer.add(Records.of([(number, None, OLD) for number in range(2, 50)]), now=0.0)
    batch = buffer.cut(limits, now=0.0)
    assert batch is not None
    assert len(batch.records) == 50
