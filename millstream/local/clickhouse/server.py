"""The server: the engine behind its HTTP interface, behind the gate, on connections that are bounded."""

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path

import uvicorn

from millstream.local.clickhouse.bounded_protocol import LONGEST_HEAD, BoundedProtocol
from millstream.local.clickhouse.engine import Engine
from millstream.local.clickhouse.gate import Gate
from millstream.local.clickhouse.interface import HttpInterface

MOST_CONNECTIONS = 256
"""More are answered 503."""


def serve(folder: Path, host: str, port: int, names: Iterable[str], user: str, password: str) -> None:
    """Serve a data folder until SIGTERM or SIGINT. `names`: host names by which clients may call this server."""
    asyncio.run(_serve(folder, host, port, names, user, password))


async def _serve(folder: Path, host: str, port: int, names: Iterable[str], user: str, password: str) -> None:
    interface = HttpInterface(Engine(folder), user, password)
    config = uvicorn.Config(
        Gate(interface.application, host, names),
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        h11_max_incomplete_event_size=LONGEST_HEAD,
        limit_concurrency=MOST_CONNECTIONS,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=60,
        lifespan="off",
    )
    await _Server(config).serve()
    interface.close()


class _Server(uvicorn.Server):
    """Prints its address on stdout once it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"ready http://{host}:{port}", flush=True)
