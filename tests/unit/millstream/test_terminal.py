"""Nothing but our own styles controls the terminal, whichever way a text reaches it."""

import io
from collections.abc import Callable

import pytest
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from millstream.local.services import ServiceLog
from millstream.terminal import Terminal, cell, styled
from tests.support.hostile import COLOURS, HOSTILE, controls_in


def _table(text: str) -> Table:
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    table.add_row(Text(text))
    return table


WAYS: dict[str, Callable[[str], RenderableType]] = {
    "string": lambda text: text,
    "text": Text,
    "styled": lambda text: styled((text, "red"), text),
    "cell": cell,
    "table": _table,
    "panel": lambda text: Panel(text, title=Text(text)),
    "group": lambda text: Group(text, Text(text, "bold")),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_escape_of_others_reaches_the_terminal(way: str) -> None:
    for text in HOSTILE:
        out = io.StringIO()
        terminal = Terminal(file=out, width=100)
        terminal._force_terminal, terminal._color_system = True, terminal._detect_color_system()
        terminal.print(WAYS[way](text))
        terminal.print(WAYS[way](text), soft_wrap=True)
        assert not controls_in(COLOURS.sub("", out.getvalue()), but="\n\t"), text


def test_brackets_and_emoji_codes_are_printed_as_they_are() -> None:
    out = io.StringIO()
    Terminal(file=out, width=100).print("[/nonsense] [red]m[/] :boom:")
    assert out.getvalue() == "[/nonsense] [red]m[/] :boom:\n"


def test_a_progress_bar_still_draws_itself() -> None:
    out = io.StringIO()
    terminal = Terminal(file=out, width=100)
    terminal._force_terminal = True
    with Progress(TextColumn("{task.description}"), console=terminal) as progress:
        progress.add_task("series", total=3)
    assert "series" in out.getvalue() and "\x1b[?25l" in out.getvalue()


def test_a_relayed_line_of_a_service_is_one_line() -> None:
    for text in HOSTILE:
        out = io.StringIO()
        ServiceLog(Terminal(file=out, width=100)).write("worker-1", {"event": text, "tenant": text, text: [text]})
        line, end = out.getvalue().split("\n")
        assert line.startswith("  worker-1 │ ") and not end and not controls_in(line, but="")


def test_a_traceback_of_a_service_is_shown_below_its_line_and_forges_no_line_of_another_service() -> None:
    out = io.StringIO()
    log = ServiceLog(Terminal(file=out, width=100), expected=("planned",))
    traceback = "Traceback (most recent call last):\n  File a\nE: \x1b[2J\r  sink │ all is well"
    log.write("worker-1", {"event": "job_failed", "exception": traceback})
    log.write("worker-1", {"event": "planned", "exception": traceback})
    first, *below = out.getvalue().rstrip("\n").split("\n")
    assert first == "  worker-1 │ job_failed"
    assert len(below) == 3 and all(line.startswith(" " * 10 + " │ ") for line in below)
    assert not controls_in(out.getvalue())
