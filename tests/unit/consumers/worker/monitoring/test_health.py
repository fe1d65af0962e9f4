"""The probes of a worker."""

import socket
import time
import urllib.error
import urllib.request

import pytest

from millstream.consumers.worker.monitoring.health import STUCK_AFTER_S, HealthServer, PortUnavailable
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import NOT_LIVE_AFTER_S, WorkerStatus
from millstream.local.ports import free_port


def answer(port: int, path: str) -> int:
    return told(port, path)[0]


def told(port: int, path: str) -> tuple[int, list[str]]:
    """Status and lines of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3) as response:
            return int(response.status), response.read().decode().splitlines()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().splitlines()


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


def test_a_worker_whose_outcomes_are_not_written_is_not_ready_and_says_why() -> None:
    port, status = free_port(), WorkerStatus()
    status.ready.set()
    with HealthServer("127.0.0.1", port, status, WorkerMetrics(status)):
        status.writing.unwritable = {"jobs.dead": "unknown topic"}
        status.writing.parked = 3
        assert told(port, "/ready") == (
            503,
            [
                "starting",
                "jobs.dead cannot be written: unknown topic",
                "3 outcomes cannot be written now and are kept",
            ],
        )
        assert answer(port, "/live") == 200, "a restart would not bring the topic back"


def test_only_a_stop_of_all_transactions_without_a_known_cause_calls_for_a_restart() -> None:
    port, status = free_port(), WorkerStatus()
    writing = status.writing
    with HealthServer("127.0.0.1", port, status, WorkerMetrics(status)):
        writing.waits(True)
        writing._waiting_since = time.monotonic() - NOT_LIVE_AFTER_S - 1
        assert answer(port, "/live") == 503
        writing.kafka_away = True
        assert answer(port, "/live") == 200
        writing.committed()
        assert not writing.kafka_away
        assert answer(port, "/live") == 200


def test_a_worker_without_brokers_is_not_ready_although_nothing_is_to_be_written_and_lives() -> None:
    port, status = free_port(), WorkerStatus()
    status.ready.set()
    now = time.monotonic()
    with HealthServer("127.0.0.1", port, status, WorkerMetrics(status)):
        for client in ("default", "bulk"):
            status.brokers.note(client, True, now - 60)
        assert answer(port, "/ready") == 503
        status.brokers.note("default", False, now)
        code, lines = told(port, "/ready")
        assert code == 503
        assert any("no broker has answered for 60 s" in line for line in lines)
        assert answer(port, "/live") == 200
        status.brokers.note("bulk", True, now)
        assert answer(port, "/ready") == 200


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    status = WorkerStatus()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortUnavailable, match=f"127.0.0.1:{port}: Address already in use"),
            HealthServer("127.0.0.1", port, status, WorkerMetrics(status)),
        ):
            pass
