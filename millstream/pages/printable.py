"""A page whose texts control nothing: what every medium begins with."""

from collections.abc import Sequence
from dataclasses import replace

from millstream.pages.page import Block, Chart, Grid, Lines, Page
from millstream.visible import visible, visible_lines


def printable(page: Page) -> Page:
    """The page with the control characters of each text made visible. Only a snippet keeps its line breaks."""
    return replace(
        page,
        title=visible(page.title),
        subtitle=visible(page.subtitle),
        verdicts=_all(page.verdicts),
        blocks=[_block(each) for each in page.blocks],
    )


def _block(block: Block) -> Block:
    title = visible(block.title)
    if isinstance(block, Lines):
        return replace(block, title=title, lines=_all(block.lines))
    if isinstance(block, Grid):
        rows = [_all(row) for row in block.rows]
        return replace(block, title=title, columns=_all(block.columns), rows=rows, note=visible(block.note))
    if isinstance(block, Chart):
        marks = [(at, visible(name)) for at, name in block.marks]
        return replace(block, title=title, unit=visible(block.unit), marks=marks)
    return replace(block, title=title, text=visible_lines(block.text))


def _all(texts: Sequence[str]) -> list[str]:
    return [visible(each) for each in texts]
