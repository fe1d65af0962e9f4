"""Text of others inside Markdown: it stays text, whatever it holds."""

import re

_SPECIAL = re.compile(
    r"[\\`*\[\]<>#|~&$@{}]"  # code, emphasis, links, tags, headings, cells, entities, mathematics, mentions
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # an underscore inside a word is one
    r"|:(?=//)|(?<=www)\.",  # bare addresses, which become links
    re.IGNORECASE,
)
_OPENING = re.compile(r"[-+=]|\d+(?=[.)])")
"""What makes a list item or a heading of a line that begins with it."""


def escaped(text: str) -> str:
    """One line of text as Markdown that shows exactly it."""
    text = _SPECIAL.sub(r"\\\g<0>", text.strip())
    opening = _OPENING.match(text)
    if opening is None:
        return text
    at = opening.end() if opening[0].isdigit() else 0
    return f"{text[:at]}\\{text[at:]}"


def fenced(text: str) -> str:
    """A block of code whose fence is longer than any run of backticks in `text`, so that it ends where it ends."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
