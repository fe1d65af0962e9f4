"""Free ports on loopback."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

_returned: set[int] = set()
_claims: dict[int, IO[str]] = {}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is not in use, and that this function has not returned before in this process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _returned:
            _returned.add(port)
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: a connection in TIME_WAIT does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def claim(port: int) -> bool:
    """Whether this process may use a port that several local stacks prefer: nobody listens on it, and no other process
    of this user has claimed it. The claim lasts as long as the process, so it holds before the server listens."""
    if not is_free(port):
        return False
    if port in _claims:
        return True
    folder = Path(tempfile.gettempdir()) / f"millstream-ports-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = (folder / str(port)).open("w")
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _claims[port] = file
    return True
