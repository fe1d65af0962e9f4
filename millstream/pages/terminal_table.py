"""A table in a terminal of any width: words and figures stay whole; what does not fit side by side goes below."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millstream.pages.page import Grid

LONGEST_WORD = 40
"""A longer word is broken: there are names of any length."""

_PADDING = 3
"""Columns of the terminal between two columns of a table, and around it."""


def terminal_table(grid: Grid, width: int) -> RenderableType:
    """The table as rows, or as a block of `name value` lines for each row when `width` is too small for its words."""
    columns = range(len(grid.columns))
    least = [_least_width(grid, number) for number in columns]
    if sum(least) + _PADDING * len(least) > width:
        return _blocks(grid)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", caption_justify="left", caption=Text(grid.note)
    )
    for number in columns:
        is_text = number in grid.left
        table.add_column(
            _header(grid, number, least[number]),
            justify="left" if is_text else "right",
            min_width=least[number],
            overflow="fold",
        )
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def _least_width(grid: Grid, number: int) -> int:
    """The longest word of a text column, the longest figure of another; of the header only the longest word."""
    cells = [row[number] for row in grid.rows]
    words = [word for text in (cells if number in grid.left else ()) for word in text.split()]
    figures = [] if number in grid.left else cells
    longest = max((Text(each).cell_len for each in (*words, *figures, *grid.columns[number].split())), default=1)
    return min(longest, LONGEST_WORD) if number in grid.left else longest


def _header(grid: Grid, number: int, width: int) -> Text:
    """The header of a figure takes no more width than the figure, so it may have several lines."""
    if number in grid.left:
        return Text(grid.columns[number])
    lines: list[str] = []
    for word in grid.columns[number].split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return Text("\n".join(lines))


def _blocks(grid: Grid) -> RenderableType:
    parts: list[RenderableType] = []
    for row in grid.rows:
        block = Table(box=None, show_header=False, pad_edge=False)
        block.add_column(style="dim")
        block.add_column(overflow="fold")
        for name, value in zip(grid.columns, row, strict=True):
            block.add_row(Text(name), Text(value))
        parts += [Text(), block]
    return Group(*parts, Text(grid.note))
