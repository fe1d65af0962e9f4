"""HTTP connections that nobody can hold open with half a request."""

import asyncio
import sys

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_WITHIN_S = 10.0
"""How long a client may take to send the head of a request."""

LONGEST_HEAD = 256 * 1024
"""Bytes of an unfinished head."""

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 414: b"URI Too Long", 431: b"Request Header Fields Too Large"}


class BoundedProtocol(H11Protocol):
    """Uvicorn's protocol, with a time limit for the head of each request, and statuses that say what was too long."""

    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._overdue is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Between two requests the time limit of idle connections applies."""
        self._stop_waiting()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Called while the error of the parser is handled, which knows the status; of an unfinished first line it is
        the address that is too long."""
        status: int = getattr(sys.exc_info()[1], "error_status_hint", 400)
        if status == 431 and b"\r\n" not in self.conn.trailing_data[0]:
            status = 414
        self._refuse(status, msg if status == 400 else _REASONS[status].decode())

    def _wait_for_head(self) -> None:
        self._overdue = self.loop.call_later(HEAD_WITHIN_S, self._refuse, 408, "the head of the request did not come")

    def _stop_waiting(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _refuse(self, status: int, why: str) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            body = f"{why}\n".encode()
            head = b"HTTP/1.1 %d %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (status, _REASONS[status], len(body)) + body)
            self.transport.close()
