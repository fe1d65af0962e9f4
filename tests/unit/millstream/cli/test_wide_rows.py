"""Rows of a command are columns where they fit, and blocks of lines where they do not; nothing of a value is cut."""

import io

import pytest
from rich.console import Console

from millstream.cli import output
from millstream.cli.output import columns

NAMES = [f"column_{number}" for number in range(19)]
ROWS = [[f"value-{row}-{number}" for number in range(19)] for row in range(2)]


def printed(width: int, names: list[str], rows: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(output, "out", Console(width=width))
    text = io.StringIO()
    Console(file=text, width=width).print(columns(names, rows))
    return text.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200, 400])
def test_every_name_and_value_is_whole_at_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(width, NAMES, ROWS, monkeypatch)
    assert "…" not in text
    assert all(each in text.split() for each in [*NAMES, *ROWS[0], *ROWS[1]])


def test_what_fits_has_a_line_a_row_and_two_columns_between_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(80, ["name", "count"], [["acme", "12"], ["a longer name", "3"]], monkeypatch)
    assert [line.rstrip() for line in text.splitlines()] == [
        "name           count",
        "acme           12",
        "a longer name  3",
    ]


def test_what_does_not_fit_is_a_block_of_lines_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.split() for line in printed(80, NAMES, ROWS, monkeypatch).splitlines()]
    assert [each for each in lines if each] == [
        [name, value] for row in ROWS for name, value in zip(NAMES, row, strict=True)
    ]
