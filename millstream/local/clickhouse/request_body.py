"""A request's body: received on the event loop into a file, so that a slow client occupies no thread and no memory."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from starlette.requests import ClientDisconnect, Request

from millstream.local.clickhouse.errors import BAD_ARGUMENTS, SOCKET_TIMEOUT, ClickHouseError

PIECE_WITHIN_S = 30.0
"""How long a client may be silent amid a body."""

SLOWEST_BYTES_PER_S = 1_000
"""A body may take `PIECE_WITHIN_S` seconds and the time that it takes at this rate."""

MEMORY_BYTES = 1024 * 1024
"""Up to here a body stays in memory."""

_READ_BYTES = 256 * 1024


class RequestBody:
    """A body that has arrived as a whole; close it, or its file stays."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    async def receive(cls, request: Request, folder: Path) -> "RequestBody":
        """Receive the body of a request into `folder`. Raises `ClickHouseError` when the client is too slow or
        leaves."""
        file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, "w+b", prefix="body-", dir=str(folder))  # noqa: SIM115
        try:
            await _receive(request, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return cls(file)

    def pieces(self) -> Iterator[bytes]:
        """The bytes, from where the last reading ended."""
        while piece := self._file.read(_READ_BYTES):
            yield piece

    def close(self) -> None:
        self._file.close()


async def _receive(request: Request, file: IO[bytes]) -> None:
    loop, stream = asyncio.get_running_loop(), request.stream()
    deadline = loop.time() + PIECE_WITHIN_S
    try:
        while True:
            within_s = min(PIECE_WITHIN_S, deadline - loop.time())
            piece = await asyncio.wait_for(anext(stream, None), within_s)
            if piece is None:
                return
            file.write(piece)
            deadline += len(piece) / SLOWEST_BYTES_PER_S
    except ClientDisconnect as error:
        raise ClickHouseError.raised(BAD_ARGUMENTS, "BAD_ARGUMENTS", "The client disconnected") from error
    except TimeoutError as error:
        why = f"Timeout exceeded while reading from the client: silent for {PIECE_WITHIN_S:g} s, or too slow as a whole"
        raise ClickHouseError.raised(SOCKET_TIMEOUT, "SOCKET_TIMEOUT", why) from error
