"""The endpoints `/ready`, `/live` and `/metrics` of a process of sinks."""

import time
from collections.abc import Callable, Iterable, Mapping
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from millstream.consumers.sink.metrics import SinkMetrics
from millstream.consumers.sink.status import SinkStatus
from millstream.listening import HttpGuard
from millstream.probe_server import ProbeServer

STUCK_AFTER_S = 60.0
FAILING_AFTER_S = 10.0


class SinkHealth:
    """What the endpoints answer. Thread-safe.

    Ready: each sink has its part of its group, Kafka and ClickHouse answer, and ClickHouse takes inserts. Live: the
    poll thread of each sink went round within the last minute. The answer says why not, a line for each reason.
    """

    def __init__(self) -> None:
        self._statuses: Mapping[str, SinkStatus] = {}
        self._ping: Callable[[], bool] | None = None

    def started(self, statuses: Mapping[str, SinkStatus], ping: Callable[[], bool]) -> None:
        """The sinks run from now on; by their topics. `ping` says whether ClickHouse answers."""
        self._statuses, self._ping = statuses, ping

    def pages(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """The answer to a request."""
        path, now = environ.get("PATH_INFO", ""), time.monotonic()
        if path == "/metrics":
            registry = CollectorRegistry()
            registry.register(SinkMetrics(self._statuses))
            answer: Iterable[bytes] = make_wsgi_app(registry)(environ, start)
            return answer
        if path == "/ready":
            problems = self._not_ready(now)
        elif path == "/live":
            problems = not_live(self._statuses, now)
        else:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found; the endpoints are /ready, /live and /metrics\n"]
        start("503 Service Unavailable" if problems else "200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["".join(f"{line}\n" for line in problems or ["running"]).encode()]

    def _not_ready(self, now: float) -> list[str]:
        if self._ping is None:
            return ["ClickHouse does not answer, or its tables are not those of this release (millstream migrate)"]
        clickhouse = [] if self._ping() else ["ClickHouse does not answer"]
        return clickhouse + not_ready(self._statuses, now)


def not_ready(statuses: Mapping[str, SinkStatus], now: float) -> list[str]:
    """Why these sinks do not insert what is sent to their topics. `now`: seconds, monotonic."""
    problems = []
    for topic, status in statuses.items():
        if not status.kafka_answers:
            problems.append(f"{topic}: no broker answers")
        elif not status.assigned:
            problems.append(f"{topic}: the consumer group has assigned no partitions to it")
        if status.failing_since is not None and now - status.failing_since >= FAILING_AFTER_S:
            problems.append(
                f"{topic}: nothing was inserted for {now - status.failing_since:.0f} s: {status.last_error}"
            )
    return problems


def not_live(statuses: Mapping[str, SinkStatus], now: float) -> list[str]:
    """Why only a restart is left to try."""
    return [
        f"{topic}: the poll thread has not gone round for {now - status.polled_at:.0f} s"
        for topic, status in statuses.items()
        if now - status.polled_at >= STUCK_AFTER_S
    ]


def health_server(host: str, port: int, health: SinkHealth, guard: HttpGuard | None = None) -> ProbeServer:
    """The server of the endpoints, not started yet."""
    return ProbeServer(host, port, health.pages, guard, ("sink.health_host", "sink.health_port"))
