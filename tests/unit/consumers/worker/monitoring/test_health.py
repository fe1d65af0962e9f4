"""The probes of a worker."""

import socket
import time
import urllib.error
import urllib.request

import pytest
from pydantic import SecretStr

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.monitoring.health import STUCK_AFTER_S, HealthServer
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import NOT_LIVE_AFTER_S, WorkerStatus
from millstream.listening import HttpGuard, PortTaken, UnprotectedListener
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


def test_metrics_need_the_token_and_probes_none() -> None:
    port, status = free_port(), WorkerStatus()
    guard = HttpGuard("127.0.0.1", "s3cret", settings=("", "", ""))
    with HealthServer("127.0.0.1", port, status, WorkerMetrics(status), guard):
        assert answer(port, "/metrics") == 401
        assert answer(port, "/live") == 200
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
        request.add_header("Authorization", "Bearer s3cret")
        with urllib.request.urlopen(request, timeout=3) as scraped:
            assert b"millstream_" in scraped.read()
        request.add_header("Origin", "https://example.org")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=3)


def test_beyond_loopback_the_metrics_need_a_token_or_an_explicit_yes() -> None:
    beyond = WorkerConfig(health_host="0.0.0.0", health_port=1)
    with pytest.raises(UnprotectedListener, match=r"worker\.metrics_token.*worker\.metrics_open"):
        beyond.http_guard()
    assert beyond.model_copy(update={"health_port": 0}).http_guard() is None
    for allowed in ({"metrics_open": True}, {"metrics_token": SecretStr("t")}):
        assert beyond.model_copy(update=allowed).http_guard() is not None


def test_a_taken_port_names_its_settings() -> None:
    status = WorkerStatus()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(PortTaken, match=rf"worker\.health_port: 127\.0\.0\.1:{port}: Address already in use"),
            HealthServer("127.0.0.1", port, status, WorkerMetrics(status)),
        ):
            pass


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
