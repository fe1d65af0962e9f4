"""A chart as inline SVG: the values, the usual values, the incident as a band, changes as labelled lines."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from markupsafe import Markup

from millstream.pages.format import clock_time
from millstream.pages.page import Chart

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 32, 28, 34
TICKS = 5
LONGEST_NAME = 48
"""Characters of the name of a mark."""


def chart_svg(chart: Chart) -> Markup:
    """The chart as an `<svg>` element; colours come from the classes usual, timeseries, band, mark
    and axis of the page."""
    return Markup("").join(
        [
            Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, chart.title),
            *_Drawing(chart).parts(),
            Markup("</svg>"),
        ]
    )


class _Drawing:
    """The parts of one chart, in the order in which they are painted."""

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._first = chart.moments[0].timestamp()
        self._span = max(1.0, chart.moments[-1].timestamp() - self._first)
        known = [value for value in (*chart.values, *chart.usual) if value is not None]
        self._highest = max(known, default=0.0) or 1.0

    def parts(self) -> Iterator[Markup]:
        if self._chart.marked:
            begin, end = map(self._x, self._chart.marked)
            yield Markup('<rect class="band" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                begin, TOP, max(1.0, end - begin), HEIGHT - TOP - BOTTOM
            )
        yield from self._axes()
        yield from self._line(self._chart.usual, "usual")
        yield from self._line(self._chart.values, "timeseries")
        for number, (moment, name) in enumerate(self._chart.marks):
            x = self._x(moment)
            yield Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                x, TOP, HEIGHT - BOTTOM
            )
            # A name beside the right edge ends at its line instead of beginning there.
            side, at = ("mark end", x - 4) if x > WIDTH / 2 else ("mark", x + 4)
            shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
            yield Markup('<text class="{}" x="{:.1f}" y="{}">{}</text>').format(side, at, TOP + 12 + 14 * number, shown)

    def _axes(self) -> Iterator[Markup]:
        yield Markup('<text class="axis" x="{}" y="16">{}</text>').format(LEFT, self._chart.unit)
        for number in range(TICKS + 1):
            value = self._highest * number / TICKS
            yield Markup('<line class="axis" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
                LEFT, WIDTH - RIGHT, y=self._y(value)
            )
            yield Markup('<text class="axis end" x="{}" y="{:.1f}">{:.3g}</text>').format(
                LEFT - 6, self._y(value) + 4, value
            )
            moment = datetime.fromtimestamp(self._first + self._span * number / TICKS, self._chart.moments[0].tzinfo)
            yield Markup('<text class="axis middle" x="{:.1f}" y="{}">{}</text>').format(
                self._x(moment), HEIGHT - 10, clock_time(moment, self._span)
            )

    def _line(self, values: Sequence[float | None], name: str) -> Iterator[Markup]:
        """The values as lines, interrupted where a value is missing."""
        run: list[str] = []
        for moment, value in zip(self._chart.moments, values, strict=False):
            if value is not None:
                run.append(f"{self._x(moment):.1f},{self._y(value):.1f}")
                continue
            if run:
                yield self._polyline(run, name)
            run = []
        if run:
            yield self._polyline(run, name)

    @staticmethod
    def _polyline(points: list[str], name: str) -> Markup:
        if len(points) == 1:
            x, y = points[0].split(",")
            return Markup('<circle class="{}" cx="{}" cy="{}" r="2"/>').format(name, x, y)
        return Markup('<polyline class="{}" points="{}"/>').format(name, " ".join(points))

    def _x(self, moment: datetime) -> float:
        share = (moment.timestamp() - self._first) / self._span
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self._highest * (HEIGHT - TOP - BOTTOM)
