"""CSV for spreadsheets: a text that a spreadsheet would run as a formula is stored as text."""

from enum import Enum, auto

_FORMULA = tuple(bytes([code]) for code in b"=+-@\t\r")
"""What makes a cell a formula, or hides that it is one, when it comes first."""


class _At(Enum):
    """Where the stream is. `OPENED` and `CLOSED`: right after a quote."""

    OUTSIDE = auto()
    OPENED = auto()
    INSIDE = auto()
    CLOSED = auto()


# The second quote of a pair inside a field opens nothing: it goes on.
_AFTER_QUOTE = {_At.OUTSIDE: _At.OPENED, _At.OPENED: _At.CLOSED, _At.INSIDE: _At.CLOSED, _At.CLOSED: _At.INSIDE}
_AFTER_TEXT = {_At.OUTSIDE: _At.OUTSIDE, _At.OPENED: _At.INSIDE, _At.INSIDE: _At.INSIDE, _At.CLOSED: _At.OUTSIDE}


class FormulaGuard:
    r"""Puts an apostrophe before each quoted field of a CSV stream that begins with `=`, `+`, `-`, `@`, tab or CR.

    ClickHouse quotes texts and does not quote numbers, so `-2` stays a number and the text `-2` becomes `'-2`.
    """

    def __init__(self) -> None:
        self._at = _At.OUTSIDE

    def guarded(self, piece: bytes) -> bytes:
        """The next piece of the stream, of any size, with its formulas defused."""
        parts = piece.split(b'"')
        out = [self._text(parts[0])]
        for part in parts[1:]:
            self._at = _AFTER_QUOTE[self._at]
            out += (b'"', self._text(part))
        return b"".join(out)

    def _text(self, part: bytes) -> bytes:
        if not part:
            return part
        defused = b"'" + part if self._at is _At.OPENED and part.startswith(_FORMULA) else part
        self._at = _AFTER_TEXT[self._at]
        return defused
