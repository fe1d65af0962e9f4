"""Control characters are shown; everything that can be read is left alone."""

import pytest

from millstream.visible import visible, visible_lines
from tests.support.hostile import HOSTILE, controls_in


@pytest.mark.parametrize("text", HOSTILE)
def test_no_control_format_or_line_breaking_character_is_left(text: str) -> None:
    assert not controls_in(visible(text), but="")
    assert not controls_in(visible_lines(text), but="\n\t")
    visible(text).encode()


@pytest.mark.parametrize(
    "text", ["", "plain", "ä ö ü", "日本語", "עברית", "🎉", "12 000 €", "e\u0301", "a\\nb", "\u00a0"]
)
def test_readable_text_in_any_language_is_unchanged(text: str) -> None:
    assert visible(text) == text


def test_the_escapes_are_those_that_programmers_know() -> None:
    assert visible("\x1b[31m\n\t\r\u202e\U000e0041\x9b") == r"\x1b[31m\n\t\r\u202e\U000e0041\x9b"


def test_line_breaks_are_kept_where_they_cannot_imitate_a_line() -> None:
    assert visible_lines("a\n\tb\x1b") == "a\n\tb\\x1b"


def test_marks_are_not_stacked_over_other_lines() -> None:
    assert visible("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * 4 + "b"
