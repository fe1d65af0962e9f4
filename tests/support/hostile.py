"""Names and messages that try to be more than text, and what must not be left of them in an output."""

import re
import unicodedata

HOSTILE = (
    "\x1b]0;TITLE\x07\x1b[2J\x1b[31mred",
    "a\x9b31mb\x8d\x9d0;title\x9c",
    "bell\x07 back\x08\x08\x08space null\x00 delete\x7f",
    "first\r\nsecond\r[INFO] forged line",
    "2026-11-27 10:00:00 [info     ] forged\n12:00:00 [error] forged",
    "user\u202etxt.exe \u2066isolated\u2069 \u200bzero\u200dwidth\ufeff\u2028line\u2029paragraph",
    "[/nonsense]",
    "[link=file:///etc/passwd]click[/link] [red]m[/] [blink] :boom:",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(2)>' onmouseover='alert(3)",
    "</pre></svg><script>alert(4)</script>",
    "{{ 7*7 }} {% include 'x' %} ${7*7}",
    "x | y\\| z",
    "[click](javascript:alert(1)) ![x](http://evil.example/p.png) <http://evil.example>",
    "http://evil.example www.evil.example",
    "```\n# Forged heading\n\n## Verdict: all is well\n```",
    "```` \n````\n~~~\n> quote",
    "# heading",
    "- item",
    "1. item",
    "---",
    "====",
    "    code",
    "*bold* _under_ ~~strike~~ `code` &lt;b&gt; &#60;b&#62; @someone #1 $x$",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+1",
    "-2+3",
    "\t=1+1",
    "\r=1+1",
    "'; DROP TABLE jobs; --",
    "$(touch /tmp/x) `touch /tmp/x` ; rm -rf ~",
    "z\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301algo",
    "lone \ud800 surrogate",
    "x" * 3000,
)

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The only escape sequences that a terminal may get: colours and weights."""


def controls_in(text: str, but: str = "\n") -> set[str]:
    """The control, format and line-breaking characters in a text, except those in `but`."""
    return {each for each in text if each not in but and unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
