"""`python -m millstream.local.clickhouse`: serve a data folder."""

import argparse
import fcntl
import ipaddress
import os
import shutil
import sys
from pathlib import Path

from millstream.local.clickhouse.confinement import confine
from millstream.local.clickhouse.password import kept_password


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit code 2 for invalid arguments."""
    arguments = _arguments()
    # Removed, so that no query and no child process can read it.
    password = os.environ.pop(arguments.password_env, "") if arguments.password_env else ""
    if not _loopback(arguments.host) and not password:
        print(
            f"refusing to listen on {arguments.host} without a password: every client could change everything. "
            "Name an environment variable that holds a password with --password-env.",
            file=sys.stderr,
        )
        return 2
    folder: Path = arguments.path
    folder.mkdir(parents=True, exist_ok=True)
    if not password and not arguments.no_password:
        password = kept_password(folder)
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
        _confine(folder.resolve())
        # The engine starts threads when it is imported, and only those are confined that start afterwards.
        from millstream.local.clickhouse.server import serve

        serve(folder / "data", arguments.host, arguments.port, arguments.allow_host, arguments.user, password)
    return 0


def _confine(folder: Path) -> None:
    temporary = folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    confine(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m millstream.local.clickhouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 chooses a free one")
    parser.add_argument("--user", default="default", help="the one user (default: default)")
    parser.add_argument(
        "--password-env",
        default="",
        help="environment variable that holds the password; without it, the one kept in PATH/password, made if missing",
    )
    parser.add_argument("--no-password", action="store_true", help="let everybody in; on loopback only")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="a name that clients use for this server; repeatable"
    )
    return parser.parse_args()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
