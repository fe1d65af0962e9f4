"""`/ready`, `/live` and `/metrics` of a worker over HTTP."""

import threading
import time
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from millstream.consumers.worker.worker import Worker

STUCK_AFTER_S = 60.0
SILENCE_S = 5.0
"""So long may a client that has connected say nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: a client that connects and says nothing holds up nobody else."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, format: str, *args: object) -> None:
        """A probe each second is no news."""


class HealthServer:
    """Answers from entering to leaving, when the worker has a `health_port`.

    Ready: the worker has joined its group and is not stopping. Live: its poll thread went round within the last minute,
    and its event loop is not blocked for good.
    """

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        registry = CollectorRegistry()
        registry.register(worker.metrics)
        self._metrics = make_wsgi_app(registry)
        self._server: WSGIServer | None = None

    def __enter__(self) -> Self:
        """Raises OSError when the port is taken."""
        config = self._worker.config
        if config.health_port:
            self._server = make_server(
                config.health_host, config.health_port, self._answer, server_class=_Server, handler_class=_Quiet
            )
            threading.Thread(target=self._server.serve_forever, name="millstream-health", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        worker, path = self._worker, environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        if path == "/ready":
            well = worker.ready.is_set() and not worker.stopping.is_set()
        elif path == "/live":
            well = time.monotonic() - worker.looped_at < STUCK_AFTER_S and not worker.blocked.is_set()
        else:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/ready, /live and /metrics are here\n"]
        start("200 OK" if well else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [f"{worker.state.value}\n".encode()]
