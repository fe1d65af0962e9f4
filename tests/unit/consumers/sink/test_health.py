"""What the health endpoints of a sink answer."""

import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from millstream.consumers.sink.health import (
    FAILING_AFTER_S,
    STUCK_AFTER_S,
    SinkHealth,
    health_server,
    not_live,
    not_ready,
)
from millstream.consumers.sink.status import SinkStatus
from millstream.listening import PortTaken

TOPIC = "jobs.events"


def working() -> SinkStatus:
    status = SinkStatus()
    status.assigned = status.kafka_answers = True
    return status


def test_a_sink_that_has_its_partitions_and_inserts_is_ready_and_live() -> None:
    now = time.monotonic()
    assert not_ready({TOPIC: working()}, now) == [] == not_live({TOPIC: working()}, now)


def test_a_sink_without_a_broker_without_partitions_or_without_inserts_is_not_ready_and_says_which() -> None:
    now = time.monotonic()
    no_broker, not_assigned, failing = working(), working(), working()
    no_broker.kafka_answers = not_assigned.assigned = False
    failing.failing_since, failing.last_error = now - FAILING_AFTER_S - 1, "insert_failed: connection refused"
    problems = not_ready({"a": no_broker, "b": not_assigned, "c": failing, "d": working()}, now)
    assert len(problems) == 3
    assert "a: no broker" in problems[0] and "b: the consumer group" in problems[1]
    assert "c: nothing was inserted" in problems[2] and "connection refused" in problems[2]


def test_a_sink_whose_poll_thread_hangs_is_not_live() -> None:
    status = working()
    (problem,) = not_live({TOPIC: status}, status.polled_at + STUCK_AFTER_S + 1)
    assert problem.startswith(TOPIC)
    status.goes_round()
    assert not_live({TOPIC: status}, time.monotonic()) == []


def test_the_endpoints_answer_from_before_clickhouse_does(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    health = SinkHealth()
    stack.enter_context(health_server("127.0.0.1", port, health))

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    assert get("/live")[0] == 200
    assert get("/ready")[0] == 503 and "millstream migrate" in get("/ready")[1]
    answers = [True]
    health.started({TOPIC: working()}, lambda: answers[0])
    assert get("/ready") == (200, "running\n")
    answers[0] = False
    assert get("/ready") == (503, "ClickHouse does not answer\n")
    assert 'millstream_sink_rows_inserted_total{topic="jobs.events"} 0.0' in get("/metrics")[1]
    assert get("/nonsense")[0] == 404
    with pytest.raises(PortTaken):
        stack.enter_context(health_server("127.0.0.1", port, health))
