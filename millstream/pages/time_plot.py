"""A plot over time in the terminal, with clock times below it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import plotext
from rich.text import Text

from millstream.pages.format import clock_time

TICKS = 5
TICK_WIDTH = 18
"""Columns of the terminal that a clock time needs, with a date and a gap."""


@dataclass(frozen=True)
class Line:
    """A line of a plot; `label` is its entry in the legend, empty for none."""

    points: Sequence[tuple[datetime, float]]
    colour: str
    label: str = ""


def time_plot(
    lines: Iterable[Line],
    span: tuple[datetime, datetime],
    width: int,
    height: int,
    verticals: Iterable[tuple[datetime, str]] = (),
) -> Text:
    """The lines over the whole `span`, from 0 upwards; `verticals` are moments with a colour."""
    first, last = span
    seconds = max(1.0, (last - first).total_seconds())

    def at(moment: datetime) -> float:
        return (moment - first).total_seconds()

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plot_size(width, height)
    for line in lines:
        if not line.points:
            # Of a label without a line, plotext makes an error.
            continue
        times, values = [at(moment) for moment, _ in line.points], [value for _, value in line.points]
        plotext.plot(times, values, color=line.colour, label=line.label)
    for moment, colour in verticals:
        plotext.vline(at(moment), colour)
    ticks = max(1, min(TICKS, width // TICK_WIDTH))
    places = [seconds * number / ticks for number in range(ticks + 1)]
    moments = [first + (last - first) * number / ticks for number in range(ticks + 1)]
    plotext.xticks(places, [clock_time(each, seconds) for each in moments])
    plotext.xlim(0, seconds)
    plotext.ylim(0, None)
    plotext.xlabel(f"{first:%Y-%m-%d} UTC")
    return Text.from_ansi(plotext.build())
