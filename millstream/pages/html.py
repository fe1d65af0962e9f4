"""A page as one self-contained HTML file: styles and charts are embedded."""

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment

from millstream.pages.page import Chart, Grid, Lines, Page, Snippet
from millstream.pages.printable import printable
from millstream.pages.svg import chart_svg


def render_html(page: Page) -> str:
    """The page as a complete HTML document. Texts are escaped: an error message cannot become markup."""
    template = resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    kinds: Sequence[type] = (Grid, Lines, Chart, Snippet)
    environment.tests |= {kind.__name__.lower(): lambda block, kind=kind: isinstance(block, kind) for kind in kinds}
    return environment.from_string(template).render(page=printable(page), svg=chart_svg) + "\n"
