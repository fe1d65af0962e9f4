"""The engine. The only file that knows chDB."""

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chdb import _chdb

from millstream.local.clickhouse.errors import ACCESS_DENIED, ClickHouseError
from millstream.local.clickhouse.restrictions import Restrictions, Token
from millstream.local.clickhouse.statement import Insert

# The module is compiled and carries no types.
_driver: Any = _chdb

SERVER_SETTINGS = "memory_worker_period_ms=1000"
"""How often the engine compares the memory that it has counted with what the kernel says, 20 times a second by default.
What is counted is limited at once in any case."""

NO_DATA = "/dev/null"
"""Stands for the file of an insert's data while the statement is checked."""

STREAMED_FORMATS = {
    name.lower()
    for name in (
        *("Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary", "RawBLOB", "LineAsString"),
        *(
            "JSONEachRow",
            "JSONLines",
            "NDJSON",
            "JSONStringsEachRow",
            "JSONCompactEachRow",
            "JSONCompactStringsEachRow",
        ),
    )
}
"""Formats whose pieces may simply follow each other. The engine streams blocks as documents of their own, so a format
with a header or footer is answered in one piece."""

ENGINE_ERRORS = (RuntimeError, UnicodeDecodeError)
"""What the engine's module raises. The second one stands for an error whose text quotes bytes that are not UTF-8."""


@dataclass(frozen=True)
class QueryResult:
    """A whole result."""

    body: bytes
    rows_read: int = 0
    bytes_read: int = 0
    rows_written: int = 0
    bytes_written: int = 0


class Engine:
    """One data folder, open as long as this object lives. One process may hold a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = str(folder)
        self.spool = folder.parent / "spool"
        """Bodies of requests; files that a killed process left are useless."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir()
        # The engine shuts down with its last connection; this one keeps it open, and its settings are the defaults.
        self._keeper = _driver.connect(f"{self._path}?{SERVER_SETTINGS}")
        self._asking = threading.Lock()
        self.version = self._ask("SELECT version()").strip()
        self.timezone = self._ask("SELECT timezone()").strip()
        self.restrictions = Restrictions(
            self._ask("SELECT name FROM system.table_functions").split(),
            self._ask(
                "SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines"
            ).split(),
            self._ask("SELECT name FROM system.functions").split(),
        )
        self._default_database_without_files()

    def connect(self) -> "Connection":
        """A connection: settings, current database and temporary tables of its own; one query at a time."""
        return Connection(_driver.connect(self._path), self.spool)

    def check(self, statement: str) -> None:
        """Raises `ClickHouseError` for a statement that would reach a file, the network or a process."""
        if self.restrictions.may_concern(statement.encode()):
            self._refuse(self.restrictions.reason(self._tokens(statement)))

    def check_insert(self, insert: Insert) -> None:
        """The same for an insert, which may read the file of its data and no other."""
        # What is added to the client's text holds nothing that the rules concern, but it is read in one with it.
        if self.restrictions.may_concern(f"{insert.into} {insert.settings}".encode()):
            self._refuse(self.restrictions.reason(self._tokens(insert.from_file(NO_DATA)), f"'{NO_DATA}'"))

    @staticmethod
    def _refuse(why: str) -> None:
        if why:
            raise ClickHouseError.raised(ACCESS_DENIED, "ACCESS_DENIED", f"Not allowed here: {why}")

    def _tokens(self, statement: str) -> list[Token]:
        """The statement as the engine reads it: what it takes for a comment or a string is none of the tokens."""
        # Parameters are read as escaped text.
        for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r"), ("\0", "\\0")):
            statement = statement.replace(plain, escaped)
        text = (
            "SELECT t.type, substring({q:String}, t.begin + 1, t.end - t.begin) "
            "FROM (SELECT arrayJoin(tokenizeQuery({q:String})) AS t) WHERE t.type NOT IN ('Whitespace', 'Comment')"
        )
        found = self._ask(text, "JSONCompactEachRow", {"q": statement})
        return [Token(*json.loads(line)) for line in found.splitlines()]

    def _ask(self, text: str, output_format: str = "TSV", parameters: Mapping[str, str] | None = None) -> str:
        with self._asking:
            try:
                answer = self._keeper.query(text, output_format, params=dict(parameters or {}))
            except RuntimeError as error:
                raise ClickHouseError(str(error)) from error
            return str(answer.bytes().decode("utf-8", "replace"))

    def _default_database_without_files(self) -> None:
        """Replace the engine's own `default` database, in which every file is a table by its path. One that holds
        tables of an earlier release stays, as they could not be moved safely."""
        if self._ask("SELECT engine FROM system.databases WHERE name = 'default'").strip() != "Overlay":
            return
        metadata = Path(self._path) / "metadata"
        replaced = metadata / "default.sql"
        if not replaced.exists() and self._ask("SELECT name FROM system.tables WHERE database = 'default'").split():
            return
        self._ask("DETACH DATABASE default")
        if (metadata / "default").exists():
            self._ask("ATTACH DATABASE default")
            return
        # The engine keeps no folder of a database without tables, and then cannot attach it any more.
        for left in (replaced, metadata / "default"):
            left.unlink(missing_ok=True)
        self._ask("CREATE DATABASE default ENGINE = Atomic")

    def close(self) -> None:
        self._keeper.close()


class Connection:
    """One conversation with the engine. Every method raises `ClickHouseError`."""

    def __init__(self, connection: Any, spool: Path) -> None:
        self._connection = connection
        self._spool = spool
        self.turn = threading.Lock()

    def use(self, database: str, settings: Mapping[str, str]) -> None:
        """Choose the database (the current one when empty) and set settings for what follows."""
        if database:
            self._run("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`")
        for name, value in settings.items():
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            self._run(f"SET `{name}` = '{quoted}'")

    def query(self, text: str, output_format: str, parameters: Mapping[str, str]) -> QueryResult:
        """Run a statement and return its whole result."""
        result = self._run(text, output_format, parameters)
        return QueryResult(
            result.bytes(),
            result.storage_rows_read() or result.rows_read(),
            result.storage_bytes_read() or result.bytes_read(),
            result.rows_written(),
            result.bytes_written(),
        )

    def stream(self, text: str, output_format: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        """Run a SELECT and give its result piece by piece. Closing the iterator cancels the query."""
        try:
            handle = self._connection.send_query(text, output_format, params=dict(parameters))
            if handle.has_error():
                raise ClickHouseError(handle.error_message())
            finished = False
            try:
                while piece := self._connection.streaming_fetch_result(handle):
                    if piece.rows_read() == 0:
                        break
                    yield piece.bytes()
                finished = True
            finally:
                if not finished:
                    self._connection.streaming_cancel_query(handle)
        except ENGINE_ERRORS as error:
            raise _worded(error) from error

    def insert(self, insert: Insert, data: Iterator[bytes]) -> QueryResult:
        """Insert what `data` gives; nothing is stored of a body that never ends or cannot be read.

        The body goes through a file: the engine's own streaming insert does not report errors that occur after
        parsing, such as one in a materialised view.
        """
        with tempfile.NamedTemporaryFile(dir=self._spool, prefix="insert-") as file:
            for piece in data:
                file.write(piece)
            file.flush()
            result = self._run(insert.from_file(file.name))
            return QueryResult(b"", rows_written=result.rows_written(), bytes_written=result.bytes_written())

    def changes_something(self, text: str) -> bool:
        """Whether the statement writes. Raises `ClickHouseError` for several statements at once."""
        try:
            kind = self._connection.classify_query(text)
        except ENGINE_ERRORS as error:
            raise _worded(error) from error
        if kind["statement_count"] > 1:
            raise ClickHouseError.raised(62, "SYNTAX_ERROR", "Syntax error: Multi-statements are not allowed")
        return kind["query_class"] not in (_driver.query_class.READ_ONLY, _driver.query_class.UNKNOWN)

    def close(self) -> None:
        self._connection.close()

    def _run(self, text: str, output_format: str = "TSV", parameters: Mapping[str, str] | None = None) -> Any:
        try:
            return self._connection.query(text, output_format, params=dict(parameters or {}))
        except ENGINE_ERRORS as error:
            raise _worded(error) from error


def _worded(error: Exception) -> ClickHouseError:
    """The engine's error; bytes that are not UTF-8 are escaped in its text."""
    if isinstance(error, UnicodeDecodeError):
        return ClickHouseError(error.object.decode("utf-8", "backslashreplace"))
    return ClickHouseError(str(error))
