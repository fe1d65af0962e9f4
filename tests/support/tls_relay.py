"""HTTPS in front of a server that serves HTTP."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def behind_tls(url: str, context: ssl.SSLContext) -> Iterator[str]:
    """An HTTPS address of a server that serves HTTP."""
    server = urlsplit(url)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A client that does not trust us hangs up.
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection((server.hostname, server.port)) as inside,
            ):
                back = threading.Thread(target=relay, args=(inside, outside), daemon=True)
                back.start()
                relay(outside, inside)
                back.join(10)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
