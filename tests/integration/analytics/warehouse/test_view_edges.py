"""What views answer at the edges: part of a step, nothing measured, an objective that allows nothing. Never NaN."""

import uuid
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

DAY = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"
NOON = datetime.fromisoformat(f"{DAY}T12:00:00+00:00")
HOUR = f"from='{DAY} 12:00:00', to='{DAY} 13:00:00'"


def attempts(client: Client, *given: dict[str, Any]) -> None:
    """Attempts that ended a minute after noon."""
    common = {"attempt": 1, "tenant": "acme", "job_type": "reports.render", "lane": "default", "outcome": "succeeded",
              "final": True, "submitted_at": NOON, "finished_at": NOON + timedelta(minutes=1), "total_ms": 1000.0,
              "wait_ms": None, "run_ms": None}  # fmt: skip
    rows = [[str(uuid.uuid4()), *(common | more).values()] for more in given]
    client.insert("job_attempts", rows, ["job_id", *common])


def asked(client: Client, what: str, call: str) -> list[Any]:
    return [tuple(row) for row in client.query(f"SELECT {what} FROM {call}").result_rows]


@pytest.mark.parametrize(
    ("window", "steps"),
    [
        (f"from='{DAY} 12:10:00', to='{DAY} 12:40:00'", 1),
        (f"from='{DAY} 12:00:00', to='{DAY} 13:00:00'", 1),
        (f"from='{DAY} 12:10:20', to='{DAY} 12:40:20'", 1),
        (f"from='{DAY} 12:30:00', to='{DAY} 13:20:00'", 2),
    ],
)
def test_a_constant_capacity_is_the_same_in_a_step_that_the_window_covers_in_part(
    clickhouse: Client, window: str, steps: int
) -> None:
    heartbeats = [[NOON + timedelta(seconds=second), "w", "h", "box", "here", 10, 5] for second in range(7200)]
    clickhouse.insert(
        "worker_heartbeats",
        heartbeats,
        ["occurred_at", "worker_id", "host", "instance_type", "region", "capacity", "busy"],
    )
    found = asked(clickhouse, "capacity, busy, utilisation", f"utilisation_over_time({window}, step_seconds=3600)")
    assert found == [(pytest.approx(10), pytest.approx(5), pytest.approx(0.5))] * steps


@pytest.mark.parametrize("interval_s", [0.5, 1.0, 2.0])
def test_usage_does_not_depend_on_how_often_workers_send_heartbeats(clickhouse: Client, interval_s: float) -> None:
    count = round(600 / interval_s)
    heartbeats = [
        [NOON + timedelta(seconds=interval_s * number), interval_s, "w", "h", "box", "here", 10, 5, 150.0]
        for number in range(count)
    ]
    columns = ["occurred_at", "interval_s", "worker_id", "host", "instance_type", "region", "capacity", "busy"]
    clickhouse.insert("worker_heartbeats", heartbeats, [*columns, "cpu_percent"])
    window = f"from='{DAY} 12:00:00', to='{DAY} 12:10:00'"
    usage = asked(clickhouse, "up_s, capacity, busy, cpu_cores", f"worker_utilisation({window})")
    assert usage == [tuple(pytest.approx(value) for value in (600, 10, 5, 1.5))]
    machine = asked(clickhouse, "sum(seconds), sum(slot_seconds), sum(used_seconds)", f"machine_minutes({window})")
    assert machine == [tuple(pytest.approx(value) for value in (600, 6000, 3000))]


def test_a_step_that_is_not_over_is_measured_up_to_now(clickhouse: Client) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    begun = now.replace(minute=0, second=0) - timedelta(hours=1)
    seconds = range(int((now - begun).total_seconds()))
    heartbeats = [[begun + timedelta(seconds=second), "w", "h", "box", "here", 10, 5] for second in seconds]
    clickhouse.insert(
        "worker_heartbeats",
        heartbeats,
        ["occurred_at", "worker_id", "host", "instance_type", "region", "capacity", "busy"],
    )
    window = f"from='{begun:%Y-%m-%d %H:%M:%S}', to='{begun + timedelta(days=1):%Y-%m-%d %H:%M:%S}'"
    (capacity,) = asked(clickhouse, "capacity", f"utilisation_over_time({window}, step_seconds=86400) LIMIT 1")[-1]
    assert capacity == pytest.approx(10, rel=0.02)


def test_partitions_whose_jobs_took_no_time_have_no_share_of_the_run_time(clickhouse: Client) -> None:
    rows = [[NOON, "default", partition, 1, 0.0, 0.0] for partition in (0, 1)]
    clickhouse.insert("partitions_1m", rows, ["minute", "lane", "request_partition", "attempts", "run_ms", "wait_ms"])
    assert asked(clickhouse, "share, run_share", f"partition_skew({HOUR})") == [(0.5, 0), (0.5, 0)]


def test_an_objective_that_allows_no_failure_pages_at_the_first(clickhouse: Client) -> None:
    attempts(clickhouse, {"outcome": "failed"}, {"outcome": "succeeded", "tenant": "globex"})
    for kind in ("failed", "succeeded"):
        clickhouse.command(
            "INSERT INTO throughput_1m (minute, kind, lane, tenant, job_type, events) VALUES "
            f"('{DAY} 12:01:00', '{kind}', 'default', '{'acme' if kind == 'failed' else 'globex'}', 'r', 1)"
        )
    call = f"slo_burn_rate(to='{DAY} 12:03:00', by='tenant', objective=1, threshold_ms=60000)"
    found = asked(clickhouse, "dimension, failed_burn, slow_burn, alert", f"{call} WHERE window_s = 3600")
    assert found == [("acme", pytest.approx(1e9), 0, "page"), ("globex", 0, 0, "")]


def test_what_was_not_measured_is_in_no_percentile(clickhouse: Client) -> None:
    attempts(
        clickhouse,
        *({"wait_ms": 1000.0, "run_ms": 50.0} for _ in range(3)),
        *({"tenant": "acme"} for _ in range(5)),
        {"wait_ms": inf, "run_ms": inf},
        {"tenant": "globex"},
    )
    found = asked(
        clickhouse,
        "dimension, attempts, wait_p50_ms, wait_p99_ms, run_p50_ms",
        f"latency_by_dimension({HOUR}, by='tenant')",
    )
    assert found == [
        ("acme", 9, pytest.approx(1000, rel=0.01), pytest.approx(1000, rel=0.01), pytest.approx(50, rel=0.01)),
        ("globex", 1, None, None, None),
    ]
    waits = asked(clickhouse, "p50_ms", f"latency_percentiles({HOUR}, by='tenant') WHERE stage = 'queue_wait'")
    assert waits == [(found[0][2],)]


def test_a_job_that_was_submitted_again_is_listed_once_in_its_latest_state(clickhouse: Client) -> None:
    again, once = str(uuid.uuid4()), str(uuid.uuid4())
    columns = ["job_id", "tenant", "job_type", "submitted_at", "outcome", "executions", "attempts"]
    rows = [
        [again, "acme", "reports.render", NOON, "failed", 1, 1],
        [again, "acme", "reports.render", NOON + timedelta(minutes=5), "succeeded", 1, 1],
        [once, "acme", "reports.render", NOON + timedelta(minutes=2), "failed", 1, 1],
    ]
    clickhouse.insert("jobs", rows, columns)
    listed = {
        state: asked(clickhouse, "toString(job_id), state", f"job_list({HOUR}, tenant='acme', state='{state}')")
        for state in ("", "failed", "succeeded")
    }
    assert listed == {
        "": [(again, "succeeded"), (once, "failed")],
        "failed": [(once, "failed")],
        "succeeded": [(again, "succeeded")],
    }
