"""Text of others made safe to show: no character of it controls a terminal, starts a line or reorders what is read."""

import re
import unicodedata

# Zl and Zp end a line, Cf hides or reorders (bidirectional overrides, zero-width), Cs cannot be encoded.
_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_TOO_MANY_MARKS = re.compile(f"({_MARK}{{4}}){_MARK}+")
"""More than four combining marks on one character, which would be drawn over the lines above and below."""


def visible(text: str, keep: str = "") -> str:
    r"""`text` with each control, format and unassigned character written as an escape: `\x1b`, `\n`, `\u202e`.

    Characters in `keep` stay as they are. Text that is printable already, which is nearly all, is returned unchanged.
    The result is for people: a backslash of the text is not escaped, so the original cannot be recovered from it.
    """
    if text.isascii() and text.isprintable():
        return text
    escaped = "".join(each if each in keep or each.isprintable() else _escape(each) for each in text)
    return _TOO_MANY_MARKS.sub(r"\1", escaped)


def visible_lines(text: str) -> str:
    """`visible`, with the line breaks and tabs of the text kept: for text that cannot be mistaken for other lines."""
    return visible(text, keep="\n\t")


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        # Spaces of other widths.
        return character
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
