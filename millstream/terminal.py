"""The terminal as an output: on it a string is never markup, and nothing but our own styles controls it."""

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from millstream.visible import visible, visible_lines


class Terminal(Console):
    """A console for text of others.

    Brackets and emoji codes in strings are printed as they are. Control characters that reach it in any way, in a
    string, a `Text`, a title or a table, are made visible: build texts with `styled` and `cell`, which do so before
    widths are computed; this class is the last place that does.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None, file: IO[str] | None = None) -> None:
        super().__init__(stderr=stderr, width=width, file=file, markup=False, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed; the escapes of Rich itself are marked as such and stay."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment(visible_lines(text), segment.style)


def styled(*parts: str | tuple[str, str]) -> Text:
    """One line from strings and pairs of string and style, such as `styled(("sent", "green"), " pause tenant acme")`.

    Line breaks inside a part are made visible like every control character.
    """
    line = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        line.append(visible(text), style)
    return line


def cell(value: object, style: str = "") -> Text:
    """A value as a cell of a table or a title: on one line, whatever is in it."""
    return Text(visible(str(value)), style)
