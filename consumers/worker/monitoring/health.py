"""The endpoints `/ready`, `/live` and `/metrics` of a worker."""

import threading
import time
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus
from millstream.listening import HttpGuard, PortTaken, guarded

PROBES = ("/ready", "/live")
STUCK_AFTER_S = 60.0
REQUEST_TIMEOUT_S = 5.0
"""How long a client may stay connected without sending its request."""


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per request, so that a client that sends nothing delays no other."""

    daemon_threads = True


class _UnloggedRequest(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Probes arrive every second and are not logged."""


class HealthServer:
    """Serves from entering to leaving; not at all when `port` is 0.

    Ready: the worker has its part of every group, is not stopping, a broker answers, Kafka refuses it no right to read,
    and its outcomes are written. Live: its poll thread went round within the last minute, its event loop is not blocked
    beyond the limit, and nothing has held up its transactions for so long, without a cause that Kafka names, that only
    a restart is left to try. The answer says why not, a line for each reason.
    """

    def __init__(
        self, host: str, port: int, status: WorkerStatus, metrics: WorkerMetrics, guard: HttpGuard | None = None
    ) -> None:
        """`guard`: who may read the metrics; the probes are answered to everybody whom it does not take for a web
        page."""
        self._pages = self._answer if guard is None else guarded(self._answer, guard, PROBES)
        self._host = host
        self._port = port
        self._status = status
        registry = CollectorRegistry()
        registry.register(metrics)
        self._metrics = make_wsgi_app(registry)
        self._server: WSGIServer | None = None

    def __enter__(self) -> Self:
        """Raises `PortTaken`."""
        if self._port:
            try:
                self._server = make_server(
                    self._host, self._port, self._pages, server_class=_Server, handler_class=_UnloggedRequest
                )
            except OSError as error:
                settings = ("worker.health_host", "worker.health_port")
                raise PortTaken(settings, self._host, self._port, error) from error
            threading.Thread(target=self._server.serve_forever, name="millstream-health", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, path = self._status, environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        if path == "/ready":
            problems = _not_ready(status)
        elif path == "/live":
            problems = _not_live(status)
        else:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found; the endpoints are /ready, /live and /metrics\n"]
        start("503 Service Unavailable" if problems else "200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["".join(f"{line}\n" for line in (status.state.value, *problems)).encode()]


def _not_ready(status: WorkerStatus) -> list[str]:
    problems = []
    if status.stopping.is_set():
        problems.append("it is stopping")
    elif not status.ready.is_set():
        problems.append("not every consumer group has assigned partitions to it")
    return [*problems, *status.denied, *status.brokers.problems(), *status.writing.problems()]


def _not_live(status: WorkerStatus) -> list[str]:
    problems = []
    if (late_s := time.monotonic() - status.polled_at) >= STUCK_AFTER_S:
        problems.append(f"its poll thread has not gone round for {late_s:.0f} s")
    if status.loop_blocked.is_set():
        problems.append("a coroutine blocks its event loop")
    if status.writing.needs_restart:
        problems.append(f"nothing was committed for {status.writing.stands_for_s:.0f} s, for no cause that Kafka names")
    return problems
