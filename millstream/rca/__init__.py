"""Answers of root cause analysis as pages: for the terminal, as one HTML file, as Markdown."""

from millstream.rca.html import html
from millstream.rca.markdown import markdown
from millstream.rca.page import Chart, Grid, Lines, Page, Snippet
from millstream.rca.terminal import terminal

__all__ = ["Chart", "Grid", "Lines", "Page", "Snippet", "html", "markdown", "terminal"]
