"""Output of the commands: results to stdout, messages to stderr, errors with a hint how to go on."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from millstream.cli.failure import Failure

if TYPE_CHECKING:
    from millstream.pages import Page

PIPED_WIDTH = 120
"""Width to assume when the output is not a terminal."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPED_WIDTH)


def print_failure(failure: Failure) -> int:
    """Print a failure to stderr and return its exit code."""
    err.print(f"[bold red]error[/] {_escape(str(failure))}")
    if failure.hint:
        err.print(f"[dim]  {_escape(failure.hint)}[/]")
    return failure.code


def warn(text: str) -> None:
    """Print a warning to stderr; the command itself succeeded."""
    err.print(f"[yellow]warning[/] {_escape(text)}")


def answer(as_json: bool, data: Any, render: Callable[[], RenderableType]) -> None:
    """Print a result: `data` as JSON with `as_json`, else what `render` returns."""
    if as_json:
        sys.stdout.write(json.dumps(data, default=_plain) + "\n")
    else:
        out.print(render())


def columns(names: Iterable[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows in columns, names and values verbatim: brackets in them are not markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(Text(name))
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    return table


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
    err.print(f"[dim]wrote {path}[/]")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
