"""A page in the terminal."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from millstream.pages.page import Block, Chart, Grid, Lines, Page
from millstream.pages.printable import printable
from millstream.pages.terminal_table import terminal_table
from millstream.pages.time_plot import Line, time_plot

PLOT_WIDTH, PLOT_HEIGHT = 100, 12
STYLES = {"good": "green", "bad": "red", "neutral": "bold"}


def render_terminal(page: Page, width: int) -> RenderableType:
    """The page for a terminal of `width` columns."""
    page = printable(page)
    return Group(_headline(page), *(part for block in page.blocks for part in _block(block, width)))


def _headline(page: Page) -> RenderableType:
    verdicts = Text("\n".join(page.verdicts), style=STYLES[page.tone])
    return Panel(verdicts, title=Text(f"{page.title}, {page.subtitle}"), title_align="left", box=box.ROUNDED)


def _block(block: Block, width: int) -> Iterator[RenderableType]:
    yield Text()
    yield Text(block.title, style="bold")
    if isinstance(block, Chart):
        yield _plot(block, min(width, PLOT_WIDTH))
    elif isinstance(block, Grid):
        yield terminal_table(block, width)
    elif isinstance(block, Lines):
        yield Text("\n".join(block.lines))
    else:
        yield Text(block.text, style="cyan", no_wrap=False, overflow="fold")


def _plot(chart: Chart, width: int) -> RenderableType:
    """Values in blue, those inside the incident in red; its start and end, and the marks, as vertical lines."""
    if not any(value is not None for value in chart.values):
        return Text("no values", style="dim")
    lines = [Line(part, colour, label) for part, colour, label in _parts(chart)]
    incident = [(moment, "red") for moment in chart.marked or ()]
    marks = [(moment, "yellow") for moment, _ in chart.marks]
    span = chart.moments[0], chart.moments[-1]
    plot = time_plot(lines, span, width, PLOT_HEIGHT, [*incident, *marks])
    names = "".join(f"\n│ {moment:%H:%M:%S} {name}" for moment, name in chart.marks)
    return Group(plot, Text(names.strip(), style="yellow"))


def _parts(chart: Chart) -> Iterator[tuple[list[tuple[datetime, float]], str, str]]:
    """Points before, in and after the incident, each with colour and label; parts without a point are left out."""
    points = [(moment, value) for moment, value in zip(chart.moments, chart.values, strict=True) if value is not None]
    begin, end = chart.marked or (chart.moments[-1] + timedelta(1), chart.moments[-1] + timedelta(1))
    parts = (
        ([point for point in points if point[0] < begin], "blue", chart.unit),
        ([point for point in points if begin <= point[0] < end], "red", "in the incident"),
        ([point for point in points if point[0] >= end], "blue", ""),
    )
    yield from ((part, colour, label) for part, colour, label in parts if part)
