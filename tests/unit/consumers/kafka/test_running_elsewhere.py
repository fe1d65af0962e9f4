"""What a previous owner announces: it survives being text, and is believed only at its own place."""

import base64
import json
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.kafka.running_elsewhere import RunningElsewhere

offsets = st.frozensets(st.integers(0, 2**40), max_size=50)


def announced(running: frozenset[int], finished: frozenset[int] = frozenset(), start: int = 7) -> RunningElsewhere:
    until = 1_700_000_000.0
    return RunningElsewhere("jobs.default", 3, start, "w1", "w1-handover-x", until, running, finished, "cluster-a")


@given(offsets, offsets, st.integers(0, 2**40))
def test_it_is_the_same_after_it_was_text(running: frozenset[int], finished: frozenset[int], start: int) -> None:
    before = announced(running, finished, start)
    assert RunningElsewhere.parse(before.text(), "jobs.default", 3, start, "cluster-a") == before


@pytest.mark.parametrize(
    ("topic", "partition", "offset", "cluster_id"),
    [
        ("jobs.bulk", 3, 7, "cluster-a"),
        ("jobs.default", 2, 7, "cluster-a"),
        ("jobs.default", 3, 6, "cluster-a"),
        ("jobs.default", 3, 7, "cluster-b"),
    ],
)
def test_text_at_another_place_is_rejected(topic: str, partition: int, offset: int, cluster_id: str) -> None:
    with pytest.raises(ValueError, match="another place"):
        RunningElsewhere.parse(announced(frozenset({9})).text(), topic, partition, offset, cluster_id)


def test_text_that_names_no_cluster_was_written_here_by_an_older_release() -> None:
    before = announced(frozenset({9}), frozenset({12}))
    fields = json.loads(zlib.decompress(base64.b85decode(before.text()[3:])))
    del fields["cluster"]
    old = "h1:" + base64.b85encode(zlib.compress(json.dumps(fields).encode())).decode()
    assert RunningElsewhere.parse(old, "jobs.default", 3, 7, "cluster-a") == before


@given(st.data())
def test_damaged_text_is_rejected(data: st.DataObject) -> None:
    before = announced(frozenset({9, 12}))
    text = before.text()
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.sampled_from("!aZ09")) + text[at + 1 :]
    try:
        # The last character has bits that nothing depends on.
        assert RunningElsewhere.parse(damaged, "jobs.default", 3, 7, "cluster-a") == before
    except ValueError as error:
        assert re.search(r"damaged|version|place|decod|character|overflow|Expecting|padding", str(error))


def test_400_offsets_fit_into_a_commit() -> None:
    running = frozenset(offset * 97 for offset in range(400))
    assert len(announced(running, frozenset(offset + 1 for offset in running)).text()) <= 4095


def test_what_is_finished_or_given_back_does_not_run_there_any_more() -> None:
    after = announced(frozenset({1, 2, 3})).after([1], given_back=[2])
    assert (after.running, after.finished) == (frozenset({3}), frozenset({1}))
