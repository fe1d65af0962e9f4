"""The probes of a worker."""

import socket
import time
import urllib.error
import urllib.request

from millstream.consumers.worker.monitoring.health import STUCK_AFTER_S, HealthServer
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus
from millstream.local.ports import free_port


def answer(port: int, path: str) -> int:
    try:
        return int(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3).status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_client_that_connects_and_sends_nothing_delays_no_probe() -> None:
    port = free_port()
    status = WorkerStatus()
    with (
        HealthServer("127.0.0.1", port, status, WorkerMetrics(status)),
        socket.create_connection(("127.0.0.1", port)),
    ):
        time.sleep(0.1)
        assert answer(port, "/live") == 200


def test_a_worker_is_ready_between_joining_its_groups_and_stopping() -> None:
    port, status = free_port(), WorkerStatus()
    with HealthServer("127.0.0.1", port, status, WorkerMetrics(status)):
        assert answer(port, "/ready") == 503
        status.ready.set()
        assert answer(port, "/ready") == 200
        status.stopping.set()
        assert answer(port, "/ready") == 503


def test_a_worker_whose_poll_thread_or_event_loop_is_blocked_is_not_live() -> None:
    port, status = free_port(), WorkerStatus()
    with HealthServer("127.0.0.1", port, status, WorkerMetrics(status)):
        status.polled_at = time.monotonic() - 2 * STUCK_AFTER_S
        assert answer(port, "/live") == 503
        status.polled_at = time.monotonic()
        assert answer(port, "/live") == 200
        status.loop_blocked.set()
        assert answer(port, "/live") == 503
        assert answer(port, "/elsewhere") == 404
