"""`python -m millstream.local.clickhouse`: serve a data folder."""

import argparse
import asyncio
import fcntl
import ipaddress
import os
import socket
import sys
from pathlib import Path

import uvicorn

from millstream.local.clickhouse.engine import Engine
from millstream.local.clickhouse.interface import HttpInterface


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit code 2 for invalid arguments."""
    arguments = _arguments()
    password = os.environ.get(arguments.password_env, "") if arguments.password_env else ""
    if not _loopback(arguments.host) and not password:
        print(
            f"refusing to listen on {arguments.host} without a password: every client could change everything. "
            "Name an environment variable that holds a password with --password-env.",
            file=sys.stderr,
        )
        return 2
    folder: Path = arguments.path
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "server.pid").open("a+") as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner.seek(0)
            print(f"{folder} is served by process {owner.read().strip()} already", file=sys.stderr)
            return 2
        owner.truncate(0)
        owner.write(str(os.getpid()))
        owner.flush()
        asyncio.run(_serve(folder / "data", arguments.host, arguments.port, password))
    return 0


async def _serve(folder: Path, host: str, port: int, password: str) -> None:
    interface = HttpInterface(Engine(folder), password)
    config = uvicorn.Config(
        interface.application,
        host=host,
        port=port,
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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m millstream.local.clickhouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 chooses a free one")
    parser.add_argument("--password-env", default="", help="environment variable that holds the password")
    return parser.parse_args()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
