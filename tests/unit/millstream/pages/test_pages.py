"""A page says the same in the terminal, as Markdown and as HTML, and nothing in it can become markup."""

import io
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from rich.console import Console

from millstream.pages import Chart, Grid, Lines, Page, Snippet, render_html, render_markdown, render_terminal
from millstream.pages.svg import LEFT, RIGHT, WIDTH, chart_svg

START = datetime(2026, 11, 24, 10, tzinfo=UTC)
MOMENTS = [START + timedelta(minutes=number) for number in range(60)]
VALUES = [None if number == 5 else 50.0 if 20 <= number < 30 else 1.0 for number in range(60)]
INCIDENT = (MOMENTS[20], MOMENTS[30])
CHART = Chart("Failures over time", "% of attempts", MOMENTS, VALUES, INCIDENT, [(MOMENTS[19], "deploy <1.4.2>")])
PAGE = Page(
    "Errors",
    "10:00 to 11:00 UTC",
    ["1 new family"],
    [
        CHART,
        Grid("Families", ("error", "count"), [("<script>alert(1)</script> | a", "12")], note="and 3 more"),
        Lines("Not explained", ["nothing"]),
        Snippet("Next", "millstream rca job 1"),
    ],
    "bad",
)


def shown(page: Page, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render_terminal(page, width))
    return out.getvalue()


@pytest.mark.parametrize("render", [shown, render_markdown, render_html])
def test_every_block_is_there(render: object) -> None:
    text = render(PAGE)  # type: ignore[operator]
    for said in ("Errors", "10:00 to 11:00 UTC", "1 new family", "Failures over time", "Families", "and 3 more",
                 "Not explained", "millstream rca job 1"):  # fmt: skip
        assert said in text


def test_html_escapes_texts_and_its_chart_is_well_formed() -> None:
    page = render_html(PAGE)
    assert "<script>" not in page and "&lt;script&gt;" in page
    (svg,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    drawing = ElementTree.fromstring(svg)
    lines = [line for line in drawing.iter("polyline") if line.get("class") == "timeseries"]
    assert [len((line.get("points") or "").split()) for line in lines] == [5, 54], (
        "the line is broken where a value lacks"
    )
    (band,) = (each for each in drawing.iter("rect") if each.get("class") == "band")
    assert float(band.get("width") or 0) == pytest.approx((WIDTH - LEFT - RIGHT) * 10 / 59, abs=0.2)


def test_markdown_marks_the_incident_in_a_line_of_bars_and_keeps_tables_whole() -> None:
    text = render_markdown(PAGE)
    bars = re.search(r"`(.*)`", text.split("## Failures over time")[1])
    assert bars is not None
    assert "[" + "█" * 10 + "]" in bars[1]
    assert r"| \<script\>alert(1)\</script\> \| a | 12 |" in text


def test_a_chart_without_values_says_so() -> None:
    empty = Page("t", "s", [], [Chart("c", "u", MOMENTS, [None] * 60)])
    assert "no values" in shown(empty) and "no values" in render_markdown(empty)
    assert "polyline" not in render_html(empty)


def test_figures_stay_whole_in_a_narrow_terminal() -> None:
    wide = Grid("g", ("a long name", *"bcd"), [("word " * 30, "1,234,567", "7,654,321", "1,111,111")])
    text = shown(Page("t", "s", [], [wide]), 60)
    assert all(figure in text for figure in ("1,234,567", "7,654,321", "1,111,111"))


def test_the_name_of_a_mark_stays_inside_the_chart_on_either_side() -> None:
    marks = [(MOMENTS[1], "early"), (MOMENTS[58], "late"), (MOMENTS[58], "x" * 300)]
    drawing = ElementTree.fromstring(str(chart_svg(Chart("c", "u", MOMENTS, VALUES, None, marks))))
    early, late, long = (each for each in drawing.iter("text") if "mark" in (each.get("class") or ""))
    assert (early.get("class"), late.get("class")) == ("mark", "mark end")
    assert float(early.get("x") or 0) < WIDTH / 2 < float(late.get("x") or 0) < WIDTH
    assert len(long.text or "") < 50


@pytest.mark.parametrize("width", [60, 100, 120, 121, 125, 140, 200])
def test_no_text_of_a_table_is_cut_at_the_right_edge_whatever_the_width(width: int) -> None:
    ids = "01a21ec0-6ac7-7622-b6c9-40eb102117a6"
    message = r"1 validation error for Report\nreport\n  Field required [type=missing] For further information visit"
    grid = Grid(
        "Other failures",
        ("host", "tenant", "job type", "error", "failed", "example", "message"),
        [("vm", "acme", "reports.render", "ValidationError", "3", ids, message)],
        left=(0, 1, 2, 3, 5, 6),
    )
    text = shown(Page("t", "s", [], [grid]), width)
    assert all(word in text for word in (ids, "reports.render", "ValidationError", *message.split()))
    assert max(map(len, text.splitlines())) <= width


def test_a_plot_shows_clock_times_over_the_whole_window() -> None:
    late = Page("t", "s", [], [Chart("c", "u", MOMENTS, [None] * 58 + [1.0, 2.0])])
    text = shown(late)
    assert "10:00:00" in text and "10:59:00" in text and "2026-11-24 UTC" in text
    assert "seconds since" not in text
    days = [START + timedelta(hours=number) for number in range(60)]
    text = shown(Page("t", "s", [], [Chart("c", "u", days, VALUES)]))
    assert "11-24 10:00" in text and "11-26 21:00" in text
    assert "11-26 21:00" in render_html(Page("t", "s", [], [Chart("c", "u", days, VALUES)]))
