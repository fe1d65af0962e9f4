"""Whatever a tenant writes into any field of any answer: in each medium it is read as text and does nothing."""

import io
import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from millstream.analytics.rca.attribution.explain import Explanation
from millstream.analytics.rca.detection.incidents import Incident
from millstream.analytics.rca.questions.bottleneck import Bottleneck
from millstream.analytics.rca.questions.compare import Comparison
from millstream.analytics.rca.questions.deploys import Effect
from millstream.analytics.rca.questions.errors import ErrorFamilies
from millstream.analytics.rca.questions.job import JobStory
from millstream.analytics.rca.questions.noisy_neighbours import NoisyNeighbours
from millstream.analytics.rca.questions.postmortem import Postmortem
from millstream.analytics.rca.questions.timeseries import Timeseries
from millstream.analytics.rca.window import Window
from millstream.pages import Grid, Page, Snippet, render_html, render_markdown, render_terminal
from millstream.pages.answers.bottleneck import bottleneck_page
from millstream.pages.answers.compare import comparison_page
from millstream.pages.answers.deploys import deploys_page
from millstream.pages.answers.errors import errors_page
from millstream.pages.answers.explanation import attribution_page, explanation_page
from millstream.pages.answers.incidents import incidents_page
from millstream.pages.answers.job import job_page
from millstream.pages.answers.noisy_neighbours import noisy_neighbours_page
from millstream.pages.answers.postmortem import postmortem_page
from millstream.pages.report import Report, render
from millstream.terminal import Terminal
from tests.support.hostile import COLOURS, HOSTILE, controls_in
from tests.support.planted import AT, planted

MOMENTS = [AT + timedelta(minutes=number) for number in range(60)]
FIXED = {"metric": "failure_rate", "moments": MOMENTS, "values": [1.0] * 60, "span": Window(AT, MOMENTS[-1])}
SPAN = Window(AT, MOMENTS[-1])


def _of(kind: type, text: str) -> object:
    return planted(kind, text, FIXED)


def _shown(text: str) -> Timeseries:
    return planted(Timeseries, text, FIXED)  # type: ignore[no-any-return]


PAGES: dict[str, Callable[[str], Page]] = {
    "bottleneck": lambda text: bottleneck_page(planted(Bottleneck, text, FIXED)),
    "compare": lambda text: comparison_page(planted(Comparison, text, FIXED)),
    "deploys": lambda text: deploys_page(planted(list[Effect], text, FIXED), SPAN, _shown(text)),
    "errors": lambda text: errors_page(planted(ErrorFamilies, text, FIXED), _shown(text)),
    "explain": lambda text: explanation_page(planted(Explanation, text, FIXED), _shown(text)),
    "explain --file": lambda text: attribution_page(text, planted(Explanation, text, FIXED).attribution, {text: text}),
    "incidents": lambda text: incidents_page(planted(list[Incident], text, FIXED), SPAN, _shown(text)),
    "job": lambda text: job_page(planted(JobStory, text, FIXED)),
    "noisy-neighbours": lambda text: noisy_neighbours_page(planted(NoisyNeighbours, text, FIXED)),
    "report": lambda text: postmortem_page(planted(Postmortem, text, FIXED)),
}

EVERY = pytest.mark.parametrize("name", PAGES)


def in_terminal(renderable: object, width: int, colours: bool) -> str:
    out = io.StringIO()
    terminal = Terminal(width=width, file=out)
    if colours:
        terminal._force_terminal, terminal._color_system = True, terminal._detect_color_system()
    terminal.print(renderable)
    return out.getvalue()


@EVERY
def test_the_terminal_gets_no_escape_but_colours_and_shows_markup_as_text(name: str) -> None:
    for text in HOSTILE:
        plain = in_terminal(render_terminal(PAGES[name](text), 200), 200, colours=False)
        assert not controls_in(plain), (text, controls_in(plain))
        coloured = in_terminal(render_terminal(PAGES[name](text), 80), 80, colours=True)
        assert not controls_in(COLOURS.sub("", coloured)), text
    assert "[/nonsense]" in in_terminal(render_terminal(PAGES[name]("[/nonsense]"), 80), 80, colours=False)


def test_the_report_gets_no_escape_but_colours_and_shows_markup_as_text() -> None:
    for text in HOSTILE:
        found = planted(Report, text)
        assert not controls_in(in_terminal(render(found, 200), 200, colours=False)), text
        assert not controls_in(COLOURS.sub("", in_terminal(render(found, 80), 80, colours=True))), text
    assert "[/nonsense]" in in_terminal(render(planted(Report, "[/nonsense]"), 200), 200, colours=False)


class _Tags(HTMLParser):
    """Elements and attributes of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


@EVERY
def test_html_has_the_same_elements_and_attributes_whatever_the_names_are(name: str) -> None:
    harmless = _Tags(render_html(PAGES[name]("harmless"))).found
    for text in HOSTILE:
        page = render_html(PAGES[name](text))
        assert _Tags(page).found == harmless, text
        assert not controls_in(page, but="\n\t"), text
    assert "default-src 'none'" in page


@EVERY
def test_markdown_has_the_same_structure_whatever_the_names_are(name: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])

    def structure(text: str) -> list[str]:
        tokens = parser.parse(text)
        inner = [child for token in tokens for child in token.children or ()]
        # Escapes split a text into pieces, and these are not counted.
        return [each.type for each in (*tokens, *inner) if each.type not in ("text", "text_special")]

    harmless = structure(render_markdown(PAGES[name]("harmless")))
    for text in HOSTILE:
        written = render_markdown(PAGES[name](text))
        assert structure(written) == harmless, text
        assert not controls_in(written, but="\n\t"), text
        outside = re.sub(r"^(`{3,})\n.*?^\1$", "", written, flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"(?<!\\)://|(?<!\\)@|(?i:\bwww\.)", outside.replace("\\://", "")), text


def test_markdown_shows_the_text_that_was_escaped() -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for text in HOSTILE:
        one_line = " ".join(text.encode("ascii", "ignore").decode().split()).strip()
        if one_line.isprintable():
            page = Page("t", "s", [], [Grid("g", ("name",), [(one_line,)])])
            cell = next(each for each in parser.parse(render_markdown(page))[::-1] if each.type == "inline")
            assert "".join(child.content for child in cell.children or ()) == one_line


@pytest.mark.parametrize("text", HOSTILE)
def test_a_command_to_copy_has_the_hostile_id_as_one_argument(text: str) -> None:
    for page in (PAGES["errors"](text), PAGES["incidents"](text)):
        (command,) = (block.text for block in page.blocks if isinstance(block, Snippet))
        assert shlex.split(command)[-1] == text


def test_a_narrow_terminal_shows_each_word_and_each_figure_whole() -> None:
    cause = "tenant=acme, job_type=reports.render"
    row = (cause, "12 of 4,310", "1,210 of 2,350", "15.2", "97.3%", "71.2 to 93.4", "99.9%", "(host=worker-host-17)")
    columns = (
        "cause",
        "before",
        "now",
        "expected",
        "of the excess",
        "times expected",
        "confidence",
        "same attempts as",
    )
    page = Page("t", "s", [], [Grid("Causes", columns, [row], left=(0, 7))])
    for width in (60, 80, 100, 110, 120, 160):
        text = in_terminal(render_terminal(page, width), width, colours=False)
        whole = (*cause.split(), *row[1:])
        assert all(word in text for word in whole), (width, text)
