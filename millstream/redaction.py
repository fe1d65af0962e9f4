"""What an operator does not want in events, dead letters and logs is taken out of a text before it is written."""

import re
from collections.abc import Iterable

REDACTED = "[redacted]"

# A value as JSON, Python or `name=value` writes it; a text that was cut short may lack its end.
_VALUE = r"""\\*"(?:[^"\\]|\\.)*"?|\\*'(?:[^'\\]|\\.)*'?|\{[^{}]*\}?|\[[^\[\]]*\]?|[^\s,;&}\])]+"""
_NOT_IN_A_WORD = r"(?<![A-Za-z0-9_])"


class Redaction:
    """Replaces what matches by `[redacted]`; false when it has nothing to look for.

    `fields`: names whose values are replaced wherever a text holds them as `"name": value`, `name=value` or
    `name: value`, in any case of letters. `patterns`: regular expressions, whose whole match is replaced. Raises
    `ValueError` for a pattern that is none, or that matches the empty text.
    """

    def __init__(self, fields: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._patterns = [_compiled(each) for each in patterns]
        names = "|".join(sorted(map(re.escape, fields), key=len, reverse=True))
        quoted = rf"(\\*[\"']|{_NOT_IN_A_WORD})({names})(?:\1|(?![A-Za-z0-9_]))\s*[:=]\s*(?:{_VALUE})"
        self._fields = re.compile(quoted, re.IGNORECASE | re.DOTALL) if names else None

    def __call__(self, text: str) -> str:
        """The text without what is looked for."""
        if self._fields:
            text = self._fields.sub(rf"\g<2>={REDACTED}", text)
        for each in self._patterns:
            text = each.sub(REDACTED, text)
        return text

    def __bool__(self) -> bool:
        return bool(self._patterns or self._fields)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if compiled.match(""):
        raise ValueError(f"{pattern!r} matches the empty text")
    return compiled
