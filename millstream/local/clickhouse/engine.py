"""The engine. The only file that knows chDB."""

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chdb import _chdb

from millstream.local.clickhouse.errors import ClickHouseError
from millstream.local.clickhouse.statement import Insert

# The module is compiled and carries no types.
_driver: Any = _chdb

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
        # Bodies of running inserts; files that a killed process left are useless.
        self._spool = folder.parent / "spool"
        shutil.rmtree(self._spool, ignore_errors=True)
        self._spool.mkdir()
        # The engine shuts down with its last connection; this one keeps it open.
        self._keeper = _driver.connect(self._path)
        self.version = str(self._keeper.query("SELECT version()", "TSV").bytes().decode()).strip()
        self.timezone = str(self._keeper.query("SELECT timezone()", "TSV").bytes().decode()).strip()

    def connect(self) -> "Connection":
        """A connection: settings, current database and temporary tables of its own; one query at a time."""
        return Connection(_driver.connect(self._path), self._spool)

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
