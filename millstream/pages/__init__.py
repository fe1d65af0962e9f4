"""Answers of root cause analysis as pages: for the terminal, as one HTML file, as Markdown."""

from millstream.pages.html import html
from millstream.pages.markdown import markdown
from millstream.pages.page import Chart, Grid, Lines, Page, Snippet
from millstream.pages.terminal import terminal

__all__ = ["Chart", "Grid", "Lines", "Page", "Snippet", "html", "markdown", "terminal"]
