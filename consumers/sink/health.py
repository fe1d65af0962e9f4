"""The endpoints `/ready`, `/live` and `/metrics` of a process of sinks."""

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from millstream.consumers.sink.metrics import SinkMetrics
from millstream.consumers.sink.status import SinkStatus
from millstream.listening import HttpGuard, PortTaken

PROBES = ("/ready", "/live")
STUCK_AFTER_S = 60.0
FAILING_AFTER_S = 10.0
REQUEST_TIMEOUT_S = 5.0
"""How long a client may stay connected without sending its request."""

Answer = tuple[int, str, bytes]
"""HTTP status, content type and body."""


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

    def answer(self, path: str) -> Answer:
        """The answer to a GET."""
        if path == "/metrics":
            registry = CollectorRegistry()
            registry.register(SinkMetrics(self._statuses))
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
        now = time.monotonic()
        if path == "/ready":
            problems = self._not_ready(now)
        elif path == "/live":
            problems = not_live(self._statuses, now)
        else:
            return 404, "text/plain", b"not found; the endpoints are /ready, /live and /metrics\n"
        lines = problems or ["running"]
        return (503 if problems else 200), "text/plain; charset=utf-8", "".join(f"{line}\n" for line in lines).encode()

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


def serve_health(host: str, port: int, health: SinkHealth, guard: HttpGuard | None = None) -> None:
    """Serve for as long as the process lives; not at all when `port` is 0. `guard`: who may read the metrics; the
    probes are answered to everybody whom it does not take for a web page. Raises `PortTaken`."""
    if not port:
        return

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            sent = {name: self.headers[name] for name in ("Host", "Origin", "Authorization") if name in self.headers}
            refused = guard.refusal(sent, is_probe=path in PROBES) if guard is not None else None
            if refused is None:
                status, kind, body = health.answer(path)
            else:
                status, kind, body = refused[0], "text/plain; charset=utf-8", f"{refused[1]}\n".encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes arrive every second and are not logged."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise PortTaken(("sink.health_host", "sink.health_port"), host, port, error) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="millstream-sink-health", daemon=True).start()
