"""A page as Markdown, for postmortems and tickets."""

from collections.abc import Iterator

from millstream.pages.markdown_text import escaped, fenced
from millstream.pages.page import Block, Chart, Grid, Lines, Page
from millstream.pages.printable import printable

BARS = "▁▂▃▄▅▆▇█"
SPARKS = 60


def render_markdown(page: Page) -> str:
    """The page as one Markdown document; a chart is a line of bars with the incident in brackets.

    Nothing in its texts becomes a heading, a link, an image, a table or HTML.
    """
    page = printable(page)
    verdicts = "\n".join(f"- **{escaped(each)}**" for each in page.verdicts)
    parts = [f"# {escaped(page.title)}", escaped(page.subtitle), verdicts]
    parts += [part for block in page.blocks for part in _block(block)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _block(block: Block) -> Iterator[str]:
    yield f"## {escaped(block.title)}"
    if isinstance(block, Grid):
        yield _table(block)
        if block.note:
            yield escaped(block.note)
    elif isinstance(block, Lines):
        yield "\n".join(f"- {escaped(line)}" for line in block.lines)
    elif isinstance(block, Chart):
        yield f"`{_sparkline(block)}` {_range(block)}"
    else:
        yield fenced(block.text)


def _table(grid: Grid) -> str:
    rule = [":--" if number in grid.left else "--:" for number in range(len(grid.columns))]
    head, *rows = [[escaped(cell) for cell in row] for row in (grid.columns, *grid.rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _sparkline(chart: Chart) -> str:
    width = max(1, -(-len(chart.values) // SPARKS))
    highest = max((value for value in chart.values if value is not None), default=0.0) or 1.0
    line, was_inside = "", False
    for start in range(0, len(chart.values), width):
        values = [value for value in chart.values[start : start + width] if value is not None]
        inside = chart.marked is not None and chart.marked[0] <= chart.moments[start] < chart.marked[1]
        line += ("[" if inside else "]") if inside != was_inside else ""
        line += BARS[min(7, int(max(values) / highest * 8))] if values else " "
        was_inside = inside
    return line + ("]" if was_inside else "")


def _range(chart: Chart) -> str:
    values = [value for value in chart.values if value is not None]
    if not values:
        return "no values"
    first, last = chart.moments[0], chart.moments[-1]
    return f"0 to {max(values):,.4g} {escaped(chart.unit)}, {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC"
