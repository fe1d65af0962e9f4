"""The text in which a commit announces the next batch: it is read back unchanged, and any other text is rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.sink.intent import Intent, UnknownIntent, read_intent

OFFSETS = st.integers(0, 2**63 - 2)


@given(OFFSETS, OFFSETS)
def test_what_is_announced_is_read_back(one: int, other: int) -> None:
    intent = Intent(min(one, other), max(one, other) + 1)
    assert read_intent(intent.start, intent.metadata) == intent


@given(st.text())
def test_any_other_text_is_refused_and_never_taken_for_a_range(text: str) -> None:
    if text and not text.startswith("v1 until="):
        with pytest.raises(UnknownIntent):
            read_intent(7, text)


@pytest.mark.parametrize(
    "metadata", ["v2 until=9", "v1 until=7", "v1 until=3", "v1 until=-1", "v1 until=9 ", "v1 until=９"]
)
def test_a_damaged_or_newer_text_is_refused(metadata: str) -> None:
    with pytest.raises(UnknownIntent):
        read_intent(7, metadata)


@pytest.mark.parametrize("metadata", [None, ""])
def test_a_commit_without_text_announces_nothing(metadata: str | None) -> None:
    assert read_intent(7, metadata) is None


def test_the_text_is_far_below_the_smallest_metadata_limit() -> None:
    assert len(Intent(0, 2**63 - 1).metadata.encode()) < 64
