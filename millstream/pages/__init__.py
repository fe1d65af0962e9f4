"""Answers as pages: for the terminal, as one HTML file, as Markdown."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.pages.html import render_html
    from millstream.pages.markdown import render_markdown
    from millstream.pages.page import Chart, Grid, Lines, Page, Snippet
    from millstream.pages.terminal import render_terminal
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "html": ("render_html",),
            "markdown": ("render_markdown",),
            "page": ("Chart", "Grid", "Lines", "Page", "Snippet"),
            "terminal": ("render_terminal",),
        },
    )

__all__ = ["Chart", "Grid", "Lines", "Page", "Snippet", "render_html", "render_markdown", "render_terminal"]
