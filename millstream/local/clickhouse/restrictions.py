"""What a statement may not do here: reach files, the network or other processes. Pure.

A server of ClickHouse limits this by grants and folders; the embedded engine has neither, and would read and write any
file of the user that runs it. Everything is refused that is not known to stay inside: a table function, table engine or
database engine of a later version of the engine, too.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_TABLE_FUNCTIONS = frozenset(
    {
        *(
            "numbers",
            "numbers_mt",
            "zeros",
            "zeros_mt",
            "primes",
            "generateSeries",
            "generate_series",
            "generateRandom",
        ),
        *("values", "SQLStandardValues", "null", "input", "format", "view", "viewIfPermitted", "merge", "loop"),
        *("dictionary", "fuzzJSON", "fuzzQuery", "arrowstream"),
        *("mergeTreeIndex", "mergeTreeProjection", "mergeTreeAnalyzeIndexes", "mergeTreeAnalyzeIndexesUUID"),
        *("mergeTreeTextIndex", "mergeTreeCodecBlockCounts"),
        *("timeSeriesSelector", "timeSeriesMetricFamilies", "timeSeriesTags", "timeSeriesSamples", "timeSeriesMetrics"),
        *("timeSeriesData", "prometheusQuery", "prometheusQueryRange"),
    }
)
"""Table functions that read tables, arguments or nothing."""

_ENGINES = frozenset(
    {
        *("View", "MaterializedView", "LiveView", "WindowView", "Memory", "Null", "Set", "Join", "Buffer", "Merge"),
        *("Log", "TinyLog", "StripeLog", "Dictionary", "GenerateRandom", "FuzzJSON", "FuzzQuery", "Alias", "Loop"),
        *("TimeSeries", "Distributed", "ArrowStream", "Atomic", "Ordinary", "Replicated"),
    }
)
"""Engines of tables and databases that keep data in the folder, or none. Every MergeTree does, too."""

_FUNCTIONS = frozenset(
    {
        *("file", "catboostEvaluate", "reverseDNSQuery", "disk"),
        *("addressToLine", "addressToLineWithInlines", "addressToSymbol"),
        # Sources of dictionaries.
        *("clickhouse", "http", "https", "mysql", "postgresql", "mongodb", "redis", "cassandra", "odbc", "jdbc"),
        *("ytsaurus", "executable", "executable_pool", "library"),
    }
)
"""What is written like a call and reaches outside, beside table functions and engines."""

_SETTINGS = frozenset(
    {
        *("format_schema", "format_schema_source", "format_template_row", "format_template_resultset"),
        *("input_format_record_errors_file_path", "format_avro_schema_registry_url", "url_base"),
        # Another language, whose statements are not understood here.
        "dialect",
    }
)
"""Settings that name a file, an address or a language."""

_SYSTEM = frozenset({"FLUSH", "SYNC", "DROP", "CLEAR", "WAIT", "STOP", "START", "REFRESH", "CANCEL"})
_SYSTEM_OBJECTS_REFUSED = frozenset({"LISTEN", "FAILPOINT"})
_FIRST_WORDS_REFUSED = frozenset({"BACKUP", "RESTORE"})
_WORD = re.compile(rb"\w+")
_COMMAND = re.compile(rb"\bsystem\b(?!\.)")
"""SYSTEM as a command, not as the database of that name."""

_OUTSIDE = "reaches files, the network or another process"
_ESCAPED_NAME = "\\"
"""Stands for a quoted name with escapes, which nobody needs for the name of a function."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a statement as the engine's own lexer sees it; white space and comments are none."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """A keyword or name that is not quoted, in upper case; empty for anything else."""
        return self.text.upper() if self.kind == "BareWord" else ""

    @property
    def name(self) -> str:
        """A name, quoted or not, in lower case; empty for anything else."""
        if self.kind == "BareWord":
            return self.text.lower()
        if self.kind != "QuotedIdentifier":
            return ""
        inside = self.text[1:-1]
        return _ESCAPED_NAME if "\\" in inside or self.text[0] in inside else inside.lower()


class Restrictions:
    """The rules for an engine of which these `table_functions`, `engines` and ordinary `functions` are known."""

    def __init__(
        self, table_functions: Collection[str], engines: Collection[str], functions: Collection[str] = ()
    ) -> None:
        outside = {each.lower() for each in engines if each not in _ENGINES and not each.endswith("MergeTree")}
        models = {each.lower() for each in functions if re.match("(ai|AI)[A-Z]", each)}
        allowed = {each.lower() for each in _TABLE_FUNCTIONS}
        self._engines = outside
        self._calls = {each.lower() for each in table_functions if each not in _TABLE_FUNCTIONS} - allowed
        self._calls |= outside | models | {each.lower() for each in _FUNCTIONS} | {_ESCAPED_NAME}
        words = {*self._calls, *_SETTINGS, "infile", "outfile", "attach"}
        words |= {each.lower() for each in _FIRST_WORDS_REFUSED}
        self._words = {each.encode() for each in words}

    def may_concern(self, statement: bytes) -> bool:
        """Whether the statement holds a word of the rules, perhaps only in a string. False for nearly all, which then
        need not be taken apart."""
        if b"\\" in statement and any(quote in statement for quote in (b"`", b'"', "“".encode())):
            return True
        small = statement.lower()
        return not self._words.isdisjoint(found[0] for found in _WORD.finditer(small)) or bool(_COMMAND.search(small))

    def refused_setting(self, name: str) -> bool:
        """Whether a setting may not be set."""
        return name.lower() in _SETTINGS

    def reason(self, tokens: Sequence[Token], own_file: str = "") -> str:
        """Why the statement is refused; empty when it may run. `own_file`: the file of its data, which it may read."""
        first = tokens[0].word if tokens else ""
        if first in _FIRST_WORDS_REFUSED:
            return f"{first} writes or reads files"
        if first == "SYSTEM":
            return self._system(tokens)
        around = [_NONE, _NONE, *tokens, _NONE]
        for before, token, after in zip(around[1:], around[2:], around[3:], strict=False):
            if why := self._word(before, token, after, first, own_file):
                return why
        for apply, bracket, token in zip(around, around[1:], around[2:], strict=False):
            # `APPLY f` and `APPLY(f)` call f on columns.
            if token.name in self._calls and "APPLY" in (bracket.word, bracket.text == "(" and apply.word):
                return f"{token.text}() {_OUTSIDE}"
        return self._engine(tokens)

    def _word(self, before: Token, token: Token, after: Token, first: str, own_file: str) -> str:
        if token.word == "OUTFILE" and before.word == "INTO":
            return "INTO OUTFILE writes a file"
        if token.word == "INFILE" and before.word == "FROM" and after.text != own_file:
            return "FROM INFILE reads a file"
        if first == "ATTACH" and token.word == "FROM" and after.kind == "StringLiteral":
            return "ATTACH ... FROM reads a folder"
        if after.text == "(" and token.name in self._calls:
            return f"{token.text}() {_OUTSIDE}"
        if token.name in _SETTINGS and (after.text == "=" or first == "SET"):
            return f"the setting {token.text} names a file, an address or a language"
        return ""

    def _engine(self, tokens: Sequence[Token]) -> str:
        """An engine is named after ENGINE, with or without an equals sign."""
        for at, token in enumerate(tokens):
            if token.word == "ENGINE":
                named = next((each for each in tokens[at + 1 : at + 3] if each.text != "="), _NONE)
                if named.name in self._engines or named.name == _ESCAPED_NAME:
                    return f"the engine {named.text} {_OUTSIDE}"
        return ""

    @staticmethod
    def _system(tokens: Sequence[Token]) -> str:
        words = {each.word for each in tokens[1:]}
        action = tokens[1].word if len(tokens) > 1 else ""
        if action in _SYSTEM and words.isdisjoint(_SYSTEM_OBJECTS_REFUSED):
            return ""
        return f"SYSTEM {action} controls the process"


_NONE = Token("", "")
