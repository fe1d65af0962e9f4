"""Output of the commands: results to stdout, messages to stderr, errors with a hint how to go on."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from millstream.cli.failure import Failure
from millstream.redaction import Redaction
from millstream.terminal import Terminal, styled
from millstream.visible import visible, visible_lines

if TYPE_CHECKING:
    from millstream.pages import Page

_redact = Redaction()
"""Takes out credentials: an error is printed also when the settings cannot be read."""

PIPED_WIDTH = 120
"""Width to assume when the output is not a terminal."""

out = Terminal(width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Terminal(stderr=True, width=None if sys.stderr.isatty() else PIPED_WIDTH)


def print_failure(failure: Failure) -> int:
    """Print a failure to stderr and return its exit code."""
    # A failure may have several lines of its own; those after the first are indented, so that none looks like another.
    text = visible_lines(_redact(str(failure))).replace("\n", "\n  ")
    err.print(Text.assemble(("error", "bold red"), " ", text), soft_wrap=True)
    if failure.hint:
        err.print(styled((f"  {failure.hint}", "dim")), soft_wrap=True)
    return failure.code


def warn(text: str) -> None:
    """Print a warning to stderr; the command itself succeeded."""
    err.print(styled(("warning", "yellow"), f" {_redact(text)}"), soft_wrap=True)


def answer(as_json: bool, data: Any, render: Callable[[], RenderableType]) -> None:
    """Print a result: `data` as JSON with `as_json`, else what `render` returns."""
    if as_json:
        sys.stdout.write(json.dumps(data, default=_plain) + "\n")
    else:
        out.print(render())


def columns(names: Iterable[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """Rows in columns, or as a block of lines each where that is too wide: neither markup nor control characters of a
    value have an effect."""
    from millstream.pages import Grid
    from millstream.pages.terminal_table import terminal_table

    header = [visible(each) for each in names]
    cells = [[visible(str(each)) for each in row] for row in rows]
    return terminal_table(Grid("", header, cells, left=range(len(header))), out.width, ruled=False)


def show(data: Any, page: "Page", as_json: bool, as_html: Path | None) -> None:
    """Print a page, or write it to a file as HTML; with `as_json` and `as_html` both the data and the file."""
    from millstream.pages import render_html, render_terminal

    if as_html:
        write(as_html, render_html(page))
    if as_json or not as_html:
        answer(as_json, data, lambda: render_terminal(page, out.width))


def write(path: Path, text: str) -> None:
    """Write a file and report it on stderr. Raises `Failure`."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}", code=2) from error
    err.print(styled((f"wrote {path}", "dim")))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
