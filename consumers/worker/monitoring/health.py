"""The endpoints `/ready`, `/live` and `/metrics` of a worker."""

import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus
from millstream.listening import HttpGuard
from millstream.probe_server import ProbeServer

STUCK_AFTER_S = 60.0


class HealthServer(ProbeServer):
    """Says how a worker is.

    Ready: the worker has its part of every group, is not stopping, a broker answers, Kafka refuses it no right to read,
    and its outcomes are written. Live: its poll thread went round within the last minute, its event loop is not blocked
    beyond the limit, and nothing has held up its transactions for so long, without a cause that Kafka names, that only
    a restart is left to try. The answer says why not, a line for each reason.
    """

    def __init__(
        self, host: str, port: int, status: WorkerStatus, metrics: WorkerMetrics, guard: HttpGuard | None = None
    ) -> None:
        super().__init__(host, port, self._answer, guard, ("worker.health_host", "worker.health_port"))
        self._status = status
        registry = CollectorRegistry()
        registry.register(metrics)
        self._metrics = make_wsgi_app(registry)

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
