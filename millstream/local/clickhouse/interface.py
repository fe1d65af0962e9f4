"""ClickHouse's HTTP interface as an ASGI application.

The engine blocks, so each query runs on a thread of a pool while the event loop streams the bytes.
docs/embedded-clickhouse.md lists what is covered.
"""

import asyncio
import base64
import binascii
import json
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from millstream.local.clickhouse import compression
from millstream.local.clickhouse.engine import NO_DATA, STREAMED_FORMATS, Connection, Engine, QueryResult
from millstream.local.clickhouse.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    INVALID_SESSION_TIMEOUT,
    NOT_IMPLEMENTED,
    READONLY,
    SYNTAX_ERROR,
    UNKNOWN_EXCEPTION,
    ClickHouseError,
)
from millstream.local.clickhouse.request_body import RequestBody
from millstream.local.clickhouse.sessions import Sessions
from millstream.local.clickhouse.statement import Insert, output_format, parse_insert, reads

log = structlog.get_logger("millstream.clickhouse")

T = TypeVar("T")

THREADS = 32
FIRST_PART_BYTES = 1024 * 1024
HEAD_BYTES = 256 * 1024
LONGEST_STATEMENT = 64 * 1024 * 1024
LONGEST_SESSION_S = 3600
_SETTING = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")
# Parameters of the interface itself, which are not settings of a query.
_RESERVED = frozenset(
    {
        *("query", "query_id", "database", "default_format", "user", "password", "role", "quota_key", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("buffer_size", "wait_end_of_query", "send_progress_in_http_headers"),
        *("http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close"),
    }
)


@dataclass
class QueryRequest:
    """A request without its body."""

    query: str
    database: str
    format: str
    session_id: str
    session_timeout_s: float
    session_must_exist: bool
    query_id: str
    encoding: str
    readonly: bool
    parameters: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


class HttpInterface:
    """The application. `user` is the one user that there is; an empty `password` disables authentication."""

    def __init__(self, engine: Engine, user: str = "default", password: str = "") -> None:
        self._engine = engine
        self._user = user
        self._password = password
        self._sessions = Sessions(engine)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self.application = Starlette(
            routes=[
                Route("/ping", self._ping, methods=["GET", "HEAD"]),
                Route("/replicas_status", self._ping, methods=["GET", "HEAD"]),
                Route("/", self._handle, methods=["GET", "HEAD", "POST"]),
            ]
        )

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._sessions.close()
        self._engine.close()

    async def _ping(self, _: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def _handle(self, request: Request) -> Response:
        if request.method != "POST" and "query" not in request.query_params:
            return PlainTextResponse("Ok.\n")
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        try:
            self._authenticate(request)
            parsed = _read(request, query_id)
            return await self._answer(request, parsed)
        except ClickHouseError as error:
            return self._failure(error, query_id)
        except Exception as error:
            # Clients take an answer without a code for one that never reached ClickHouse, and repeat what caused it.
            log.exception("request_failed", query_id=query_id)
            text = f"{type(error).__name__}: {error}"
            return self._failure(ClickHouseError.raised(UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", text), query_id)

    def _authenticate(self, request: Request) -> None:
        user, password = request.query_params.get("user", "default"), request.query_params.get("password", "")
        user = request.headers.get("x-clickhouse-user", user)
        password = request.headers.get("x-clickhouse-key", password)
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                password = "\0"
        if user != self._user or not secrets.compare_digest(password.encode(), self._password.encode()):
            text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
            raise ClickHouseError.raised(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", text)

    async def _answer(self, request: Request, parsed: QueryRequest) -> Response:
        body = await RequestBody.receive(request, self._engine.spool)
        try:
            return await self._run(parsed, body, request.headers.get("content-encoding", "").lower())
        finally:
            body.close()

    async def _run(self, parsed: QueryRequest, body: RequestBody, encoding: str) -> Response:
        self._check_settings(parsed)
        pieces = compression.decompressed(body.pieces(), encoding)
        head = await self._in_thread(_head, parsed.query, pieces)
        insert = parse_insert(head)
        if insert is None:
            text = await self._in_thread(_whole, head, pieces)
            await self._in_thread(self._engine.check, text)
        else:
            text = insert.from_file(NO_DATA)
            await self._in_thread(self._engine.check_insert, insert)
        connection = await self._in_thread(
            self._sessions.take, parsed.session_id, parsed.session_timeout_s, parsed.session_must_exist
        )
        streaming = False
        try:
            await self._in_thread(_prepare, connection, parsed, text)
            if insert is not None:
                answer = await self._in_thread(_insert, connection, insert, pieces)
                return self._whole_response(parsed, answer, parsed.format)
            named = output_format(text, parsed.format)
            if reads(text) and named.lower() in STREAMED_FORMATS:
                chunks = connection.stream(text, parsed.format, parsed.parameters)
                first, streaming = await self._in_thread(_beginning, chunks)
                if not streaming:
                    return self._whole_response(parsed, QueryResult(first), named)
                return self._streaming_response(parsed, connection, first, chunks, named)
            answer = await self._in_thread(connection.query, text, parsed.format, parsed.parameters)
            return self._whole_response(parsed, answer, named)
        finally:
            if not streaming:
                await self._in_thread(self._sessions.give_back, parsed.session_id, connection)

    def _check_settings(self, parsed: QueryRequest) -> None:
        for name in parsed.settings:
            if self._engine.restrictions.refused_setting(name):
                why = f"Not allowed here: the setting {name} names a file, an address or a language"
                raise ClickHouseError.raised(ACCESS_DENIED, "ACCESS_DENIED", why)

    def _whole_response(self, parsed: QueryRequest, answer: QueryResult, named: str) -> Response:
        headers = self._headers(parsed.query_id, named, answer)
        body = answer.body
        if parsed.encoding and body:
            headers["Content-Encoding"] = parsed.encoding
            compressor = compression.compressor(parsed.encoding)
            body = compressor.compress(body) + compressor.flush()
        return Response(body, 200, headers, media_type=_media_type(named))

    def _streaming_response(
        self, parsed: QueryRequest, connection: Connection, first: bytes, chunks: Iterator[bytes], named: str
    ) -> Response:
        tag = secrets.token_hex(8)
        headers = self._headers(parsed.query_id, named, QueryResult(b"")) | {"X-ClickHouse-Exception-Tag": tag}
        if parsed.encoding:
            headers["Content-Encoding"] = parsed.encoding

        def pieces() -> Iterator[bytes]:
            try:
                yield first
                yield from chunks
            except ClickHouseError as error:
                yield _late_error(error, tag)

        async def body() -> AsyncIterator[bytes]:
            plain = pieces()
            packer = compression.compressor(parsed.encoding) if parsed.encoding else None
            try:
                async for piece in iterate_in_threadpool(plain):
                    if packer is None:
                        yield piece
                    elif packed := packer.compress(piece):
                        yield packed
                if packer is not None:
                    yield packer.flush()
            finally:
                # The client may have disconnected: closing the generators cancels the query in the engine.
                await asyncio.shield(self._in_thread(self._end_stream, plain, chunks, parsed, connection))

        return StreamingResponse(body(), 200, headers, media_type=_media_type(named))

    def _end_stream(
        self, plain: Iterator[bytes], chunks: Iterator[bytes], parsed: QueryRequest, connection: Connection
    ) -> None:
        for generator in (plain, chunks):
            generator.close()  # type: ignore[attr-defined]
        self._sessions.give_back(parsed.session_id, connection)

    def _failure(self, error: ClickHouseError, query_id: str) -> Response:
        headers = {
            "X-ClickHouse-Exception-Code": str(error.code),
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Server-Display-Name": "millstream",
        }
        return PlainTextResponse(f"{error}\n".encode("utf-8", "backslashreplace"), error.status, headers)

    def _headers(self, query_id: str, named: str, answer: QueryResult) -> dict[str, str]:
        summary = {
            "read_rows": str(answer.rows_read),
            "read_bytes": str(answer.bytes_read),
            "written_rows": str(answer.rows_written),
            "written_bytes": str(answer.bytes_written),
            "total_rows_to_read": "0",
            "result_rows": str(answer.rows_written),
            "result_bytes": str(len(answer.body)),
        }
        return {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Format": named,
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": "millstream",
            "X-ClickHouse-Summary": json.dumps(summary),
        }

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def _read(request: Request, query_id: str) -> QueryRequest:
    given = request.query_params
    if given.get("compress", "0") == "1" or given.get("decompress", "0") == "1":
        text = "ClickHouse's own block compression is not supported here; use Content-Encoding and Accept-Encoding"
        raise ClickHouseError.raised(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", text)
    parameters, settings = {}, {}
    for name, value in given.items():
        if name.startswith("param_"):
            parameters[name.removeprefix("param_")] = value
        elif name not in _RESERVED:
            if not _SETTING.match(name):
                raise ClickHouseError.raised(
                    115, "UNKNOWN_SETTING", f"Setting {name} is neither a builtin setting nor custom"
                )
            settings[name] = value
    compressing = given.get("enable_http_compression", "0") == "1"
    timeout = given.get("session_timeout", "60")
    if not (timeout.isascii() and timeout.isdigit() and len(timeout) < 10 and int(timeout) <= LONGEST_SESSION_S):
        why = f"Invalid session timeout: {timeout!r} is not a number of seconds up to {LONGEST_SESSION_S}"
        raise ClickHouseError.raised(INVALID_SESSION_TIMEOUT, "INVALID_SESSION_TIMEOUT", why)
    return QueryRequest(
        query=given.get("query", ""),
        database=given.get("database", request.headers.get("x-clickhouse-database", "")),
        format=given.get("default_format", request.headers.get("x-clickhouse-format", "TabSeparated")),
        session_id=given.get("session_id", ""),
        session_timeout_s=float(timeout),
        session_must_exist=given.get("session_check", "0") == "1",
        query_id=query_id,
        encoding=compression.choose_encoding(request.headers.get("accept-encoding", "")) if compressing else "",
        readonly=request.method != "POST",
        parameters=parameters,
        settings=settings,
    )


def _head(query: str, pieces: Iterator[bytes]) -> bytes:
    """The beginning of the statement: the URL's part, then as much of the body as may belong to it."""
    head = query.encode()
    if head:
        return head + b"\n"
    while len(head) < HEAD_BYTES and (piece := next(pieces, None)) is not None:
        head += piece
    return head


def _whole(head: bytes, pieces: Iterator[bytes]) -> str:
    text = bytearray(head)
    for piece in pieces:
        text += piece
        if len(text) > LONGEST_STATEMENT:
            limit = f"the statement is longer than {LONGEST_STATEMENT:,} bytes"
            raise ClickHouseError.raised(SYNTAX_ERROR, "SYNTAX_ERROR", limit)
    try:
        plain = text.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ClickHouseError.raised(SYNTAX_ERROR, "SYNTAX_ERROR", "the statement is not UTF-8") from error
    if not plain:
        raise ClickHouseError.raised(SYNTAX_ERROR, "SYNTAX_ERROR", "Empty query")
    return plain


def _prepare(connection: Connection, parsed: QueryRequest, text: str) -> None:
    changes = connection.changes_something(text)
    if parsed.readonly and changes:
        why = (
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "You should use method POST for modifying queries"
        )
        raise ClickHouseError.raised(READONLY, "READONLY", why)
    connection.use(parsed.database, parsed.settings)


def _insert(connection: Connection, insert: Insert, pieces: Iterator[bytes]) -> QueryResult:
    def data() -> Iterator[bytes]:
        if insert.data:
            yield insert.data
        yield from pieces

    return connection.insert(insert, data())


def _beginning(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """The first megabyte of a result, and whether there may be more.

    As in ClickHouse, nothing is sent before that, so that an error in a shorter result gets its own HTTP status.
    """
    first = bytearray()
    for chunk in chunks:
        first += chunk
        if len(first) >= FIRST_PART_BYTES:
            return bytes(first), True
    return bytes(first), False


def _late_error(error: ClickHouseError, tag: str) -> bytes:
    """An error after the first part of a result was sent, as ClickHouse frames it for clients that know the tag."""
    text = str(error).encode()
    return b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (
        tag.encode(),
        text,
        len(text) + 1,
        tag.encode(),
    )


def _media_type(named: str) -> str:
    known = {"json": "application/json; charset=UTF-8", "csv": "text/csv; charset=UTF-8; header=absent"}
    known |= {
        "jsoneachrow": "application/x-ndjson; charset=UTF-8",
        "csvwithnames": "text/csv; charset=UTF-8; header=present",
    }
    known |= {
        "tabseparated": "text/tab-separated-values; charset=UTF-8",
        "tsv": "text/tab-separated-values; charset=UTF-8",
    }
    return known.get(named.lower(), "application/octet-stream")
