"""What an operator does not want in events, dead letters, answers and logs is taken out of a text before it is written.

Whoever writes a text gets the process's `Redaction`: a worker for what handlers say, a sink for what ClickHouse says
of a record, a tracker for the states it keeps, and logging for every line. Tenants choose these texts, so the time that
it takes is linear in the length of the text, whatever is in it.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial

from millstream.extras import ExtraMissing, importing

REDACTED = "[redacted]"

MARGIN = 1_000
"""Characters by which a text may be longer than its limit when rules are applied, so that a value which the limit cuts
in two is still found."""

_CREDENTIALS = re.compile(r"(?<=://)[^\s/\"'<>]+@")
"""User and password in an address, whoever's it is."""

_TOKEN_SETTINGS = re.compile(r"(sasl\.oauthbearer\.config beginning at: ).*")
"""librdkafka repeats the end of a value that it does not understand."""

# A value as JSON, Python or `name=value` writes it; a text that was cut short may lack its end.
_VALUE = r"""\\*"(?:[^"\\]|\\.)*"?|\\*'(?:[^'\\]|\\.)*'?|\{[^{}]*\}?|\[[^\[\]]*\]?|[^\s,;&}\])]+"""
_NOT_IN_A_WORD = r"(?<![A-Za-z0-9_])"
# Only from the first of several backslashes on: a search from each of them would take quadratic time.
_QUOTE = r"(?<!\\)\\*[\"']"

Replace = Callable[[str], str]


class Redaction:
    """Replaces what matches by `[redacted]`: user and password in any address, and what the rules name.

    `fields`: names whose values are replaced wherever a text holds them as `"name": value`, `name=value` or
    `name: value`, in any case of letters. `patterns`: regular expressions in RE2's syntax, whose whole match is
    replaced. `errors`: whether messages and stacks of failed handlers are replaced as a whole. Raises `ValueError` for
    a pattern that is none, or that matches the empty text, and when patterns are given and RE2 is not installed. Can be
    pickled.
    """

    def __init__(self, fields: Iterable[str] = (), patterns: Iterable[str] = (), *, errors: bool = False) -> None:
        self.errors = errors
        self._rules = tuple(fields), tuple(patterns)
        fields, patterns = self._rules
        self._patterns = [_replacing(each) for each in patterns]
        names = "|".join(sorted(map(re.escape, fields), key=len, reverse=True))
        quoted = rf"({_QUOTE}|{_NOT_IN_A_WORD})({names})(?:\1|(?![A-Za-z0-9_]))\s*[:=]\s*(?:{_VALUE})"
        self._fields = re.compile(quoted, re.IGNORECASE | re.DOTALL) if names else None

    def __call__(self, text: str) -> str:
        """The text without what is looked for."""
        if "@" in text:
            text = _CREDENTIALS.sub(f"{REDACTED}@", text)
        if "beginning at: " in text:
            text = _TOKEN_SETTINGS.sub(rf"\1{REDACTED}", text)
        if self._fields:
            text = self._fields.sub(rf"\g<2>={REDACTED}", text)
        for replace in self._patterns:
            text = replace(text)
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Redaction, *self._rules, errors=self.errors), ()

    def cut(self, text: str, length: int) -> str:
        """The first `length` characters of the text without what is looked for."""
        return self(text[: length + MARGIN])[:length]


def _replacing(pattern: str) -> Replace:
    """The function that replaces the matches of a pattern. Not the standard library's: for some patterns and texts it
    takes longer than the universe is old, and holds the interpreter meanwhile."""
    try:
        with importing("redaction"):
            import re2
    except ExtraMissing as error:
        raise ValueError(str(error)) from error
    options = re2.Options()
    # Only to the caller.
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{pattern!r} is not a regular expression of RE2: {reason}") from error
    if compiled.match(""):
        raise ValueError(f"{pattern!r} matches the empty text")

    def replace(text: str) -> str:
        # A line of the log may hold what UTF-8 does not have.
        encodable = text.encode("utf-8", "backslashreplace").decode()
        found: str = compiled.sub(REDACTED, encodable)
        return text if found == encodable else found

    return replace
