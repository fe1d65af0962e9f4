"""Parses as much of a statement as the HTTP interface needs: where inline data begins, and its format."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
      (?P<skip>   \s+ | --[^\n]* | \#!?[^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.)*` | "(?:[^"\\]|\\.)*" )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<other>  . )
    """,
    re.VERBOSE | re.DOTALL,
)
_FORMAT_NAME = re.compile(rb"\s+([A-Za-z0-9_]+)[ \t]*(;|\r?\n)?")


@dataclass(frozen=True)
class Insert:
    """An INSERT with inline data. `into`: the statement up to SETTINGS. `settings`: empty if there are none. `data`:
    its first part."""

    into: str
    settings: str
    input_format: str
    data: bytes

    def from_file(self, path: str) -> str:
        """The same INSERT, reading its data from a file."""
        quoted = path.replace("\\", "\\\\").replace("'", "\\'")
        return f"{self.into} FROM INFILE '{quoted}' COMPRESSION 'none' {self.settings} FORMAT {self.input_format}"


def parse_insert(text: bytes) -> Insert | None:
    """The parts of `INSERT INTO t (a, b) SETTINGS x = 1 FORMAT CSV <data>`; None for any other statement.

    `INSERT ... VALUES` and `INSERT ... SELECT` are whole statements: the engine parses them itself.
    """
    settings: int | None = None
    for number, token in enumerate(_top_level(text)):
        word = (token["word"] or b"").upper()
        if (number == 0) != (word == b"INSERT") or word in (b"SELECT", b"VALUES", b"WITH"):
            return None
        if word == b"SETTINGS":
            settings = token.start()
        if word == b"FORMAT":
            return _with_format(text, settings, token.start(), token.end())
    return None


def reads(text: str) -> bool:
    """Whether the statement is a SELECT, whose result can be streamed."""
    first = next(_top_level(text.encode()), None)
    return first is not None and (first["word"] or b"").upper() in (b"SELECT", b"WITH")


def output_format(text: str, default: str) -> str:
    """The format that a statement names with FORMAT outside brackets, else the default."""
    found, awaiting = default, False
    for token in _top_level(text.encode()):
        word = token["word"] or b""
        if awaiting and word:
            found = word.decode()
        awaiting = word.upper() == b"FORMAT"
    return found


def _top_level(text: bytes) -> Iterator[re.Match[bytes]]:
    """The tokens outside brackets, without white space and comments."""
    depth = at = 0
    while token := _TOKEN.match(text, at):
        at = token.end()
        if token["other"] in (b"(", b"["):
            depth += 1
        elif token["other"] in (b")", b"]"):
            depth -= 1
        elif depth == 0 and not token["skip"]:
            yield token


def _with_format(text: bytes, settings: int | None, begin: int, at: int) -> Insert | None:
    named = _FORMAT_NAME.match(text, at)
    if not named or named[1].upper() == b"VALUES":
        return None
    cut = begin if settings is None else settings
    return Insert(text[:cut].decode("utf-8"), text[cut:begin].decode("utf-8"), named[1].decode(), text[named.end() :])
