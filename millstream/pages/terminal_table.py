"""A table in a terminal of any width: words and figures stay whole; what does not fit side by side goes below."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millstream.pages.page import Grid

LONGEST_WORD = 40
"""A longer word is broken: there are names of any length."""

_GAP = 2
"""Columns of the terminal between two columns of a table."""


def terminal_table(grid: Grid, width: int, *, ruled: bool = True) -> RenderableType:
    """The table as rows, with a rule below the header if it is `ruled`; or as a block of `name value` lines for each
    row when `width` is too small for its words."""
    columns = range(len(grid.columns))
    least = [_least_width(grid, number) for number in columns]
    left = width - sum(least) - (_GAP + ruled) * len(least)
    if left < 0:
        return _blocks(grid)
    # Rich would take width away from a column below its least, give it back, and cut what is beyond the right edge.
    widths = _widths(least, [_most_width(grid, number, least[number]) for number in columns], left)
    table = Table(
        box=box.SIMPLE_HEAD if ruled else None,
        pad_edge=False,
        header_style="dim" if ruled else "bold",
        caption_justify="left",
        caption=Text(grid.note) if grid.note else None,
    )
    for number in columns:
        is_text = number in grid.left
        table.add_column(
            _header(grid, number, widths[number]),
            justify="left" if is_text else "right",
            width=widths[number],
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


def _most_width(grid: Grid, number: int, least: int) -> int:
    """The longest cell of a text column with its header; a figure needs no more than its least width."""
    if number not in grid.left:
        return least
    return max(least, *(Text(each).cell_len for each in (grid.columns[number], *(row[number] for row in grid.rows))))


def _widths(least: list[int], most: list[int], left: int) -> list[int]:
    """Share `left` out to the columns whose text is longer than their least width: equally, the least needy
    first."""
    widths = list(least)
    needy = sorted(
        (number for number in range(len(least)) if most[number] > least[number]), key=lambda n: most[n] - least[n]
    )
    while needy:
        share, number = left // len(needy), needy.pop(0)
        taken = min(share, most[number] - least[number])
        widths[number] += taken
        left -= taken
    return widths


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
