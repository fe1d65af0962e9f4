"""What a statement is, as far as the HTTP interface has to know: where its inline data begins, and its format."""

import re
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
_READS = {b"SELECT", b"WITH"}


@dataclass(frozen=True)
class Insert:
    """An INSERT whose data comes with the request: `into` is the statement up to its SETTINGS, which are empty when
    there are none; then the format, and the first data."""

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

    `INSERT ... VALUES` and `INSERT ... SELECT` are whole statements: the engine reads them as they are.
    """
    depth = 0
    first = True
    at = 0
    settings: int | None = None
    while match := _TOKEN.match(text, at):
        at = match.end()
        if match["other"] in (b"(", b"["):
            depth += 1
        elif match["other"] in (b")", b"]"):
            depth -= 1
        word = (match["word"] or b"").upper()
        if match["skip"]:
            continue
        if first and word != b"INSERT":
            return None
        first = False
        if depth == 0 and word in (b"SELECT", b"VALUES", b"WITH"):
            return None
        if depth == 0 and word == b"SETTINGS":
            settings = match.start()
        if depth == 0 and word == b"FORMAT":
            return _with_format(text, settings, match.start(), at)
    return None


def reads(text: str) -> bool:
    """Whether the statement is a SELECT, whose result can be streamed."""
    at = 0
    raw = text.encode()
    while match := _TOKEN.match(raw, at):
        at = match.end()
        if match["word"]:
            return match["word"].upper() in _READS
        if not match["skip"] and match["other"] != b"(":
            return False
    return False


def output_format(text: str, default: str) -> str:
    """The format that a statement names with FORMAT outside brackets, else the default."""
    depth, found, awaiting, at = 0, default, False, 0
    raw = text.encode()
    while match := _TOKEN.match(raw, at):
        at = match.end()
        if match["other"] in (b"(", b"["):
            depth += 1
        elif match["other"] in (b")", b"]"):
            depth -= 1
        if match["skip"]:
            continue
        if awaiting and match["word"]:
            found = match["word"].decode()
        awaiting = depth == 0 and (match["word"] or b"").upper() == b"FORMAT"
    return found


def _with_format(text: bytes, settings: int | None, begin: int, at: int) -> Insert | None:
    named = _FORMAT_NAME.match(text, at)
    if not named or named[1].upper() == b"VALUES":
        return None
    cut = begin if settings is None else settings
    return Insert(text[:cut].decode("utf-8"), text[cut:begin].decode("utf-8"), named[1].decode(), text[named.end() :])
