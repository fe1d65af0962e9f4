"""The HTTP server of a service's probes and metrics."""

import threading
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

from millstream.listening import HttpGuard, PortTaken, guarded

PROBES = ("/ready", "/live")
REQUEST_TIMEOUT_S = 5.0
"""How long a client may stay connected without sending its request."""


class ProbeServer:
    """Serves `pages` from entering to leaving; not at all when `port` is 0.

    `guard`: who may read the metrics; the probes are answered to everybody whom it does not take for a web page.
    `settings`: names of the settings of address and port, for the error.
    """

    def __init__(
        self, host: str, port: int, pages: WSGIApplication, guard: HttpGuard | None, settings: tuple[str, str]
    ) -> None:
        self._host, self._port, self._settings = host, port, settings
        self._pages = pages if guard is None else guarded(pages, guard, PROBES)
        self._server: WSGIServer | None = None

    def __enter__(self) -> Self:
        """Raises `PortTaken`."""
        if self._port:
            try:
                self._server = make_server(
                    self._host, self._port, self._pages, server_class=_Server, handler_class=_UnloggedRequest
                )
            except OSError as error:
                raise PortTaken(self._settings, self._host, self._port, error) from error
            threading.Thread(target=self._server.serve_forever, name="millstream-health", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per request, so that a client that sends nothing delays no other."""

    daemon_threads = True


class _UnloggedRequest(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Probes arrive every second and are not logged."""
