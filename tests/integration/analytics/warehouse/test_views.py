"""The views answer what their files say, checked against the same events counted in Python."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import queries
from millstream.consumers.sink.avro_file import AvroFile
from millstream.schemas import OUTCOMES, EventKind, JobEvent
from millstream.schemas.registry import current_schema
from tests.support.job_events import decoded, life_of_jobs

FIRST = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
WINDOW = (FIRST, FIRST + timedelta(hours=1))


@pytest.fixture
def events(clickhouse: Client) -> list[JobEvent]:
    values = [value for _, value in life_of_jobs(400, around=FIRST)]
    file = AvroFile(current_schema("JobEvent"))
    clickhouse.raw_insert("job_events_landing", file.field_names, file.build(0, range(len(values)), values), fmt="Avro")
    return [decoded(value) for value in values]


def outcomes(events: list[JobEvent]) -> list[JobEvent]:
    return [event for event in events if event.kind in OUTCOMES]


def test_an_event_arrives_with_every_field_as_it_was_sent(clickhouse: Client, events: list[JobEvent]) -> None:
    names = list(JobEvent.model_fields)
    sent = sorted((event.model_dump() for event in events), key=lambda event: event["event_id"])
    result = clickhouse.query(
        f"SELECT {', '.join(names)} FROM job_events ORDER BY toString(event_id)", tz_mode="aware", query_tz="UTC"
    )
    for event, row in zip(sent, result.result_rows, strict=True):
        found = dict(zip(names, row, strict=True))
        found |= {name: str(found[name]) for name in ("job_id", "event_id")}
        found["execution_id"] = found["execution_id"] and str(found["execution_id"])
        assert found == event


def test_throughput_counts_each_step(clickhouse: Client, events: list[JobEvent]) -> None:
    steps = queries.throughput(clickhouse, *WINDOW, step_seconds=5)
    assert sum(step.submitted for step in steps) == sum(step.started for step in steps) == 400
    expected = Counter(int(event.occurred_at.timestamp()) // 5 * 5 for event in outcomes(events))
    assert {int(step.step.timestamp()): step.finished for step in steps if step.finished} == expected
    assert all(step.finished_per_s == step.finished / 5 for step in steps)


@pytest.mark.parametrize("by", ["", "lane", "tenant", "job_type"])
def test_latency_percentiles_are_within_one_percent(clickhouse: Client, events: list[JobEvent], by: str) -> None:
    durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for event in outcomes(events):
        key = getattr(event, by) if by else ""
        durations["queue_wait", key].append(event.wait_ms or 0)
        durations["run", key].append(event.run_ms or 0)
        durations["total", key].append((event.occurred_at - event.submitted_at) / timedelta(milliseconds=1))
    rows = queries.latency(clickhouse, *WINDOW, by=by)  # type: ignore[arg-type]
    assert {(row.stage, row.dimension) for row in rows} == set(durations)
    for row in rows:
        values = sorted(durations[row.stage, row.dimension])
        assert row.attempts == len(values)
        assert row.max_ms == pytest.approx(values[-1])
        assert row.mean_ms == pytest.approx(sum(values) / len(values))
        for level, found in [(0.5, row.p50_ms), (0.9, row.p90_ms), (0.95, row.p95_ms), (0.99, row.p99_ms)]:
            # With few values the ranks next to the level are as right as the level's own.
            rank = level * (len(values) - 1)
            low, high = values[max(0, int(rank) - 1)], values[min(len(values) - 1, int(rank) + 2)]
            assert low * 0.985 <= found <= high * 1.015


def test_failures_give_rate_and_top_error(clickhouse: Client, events: list[JobEvent]) -> None:
    by_key: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for event in outcomes(events):
        by_key[event.tenant, event.job_type][event.kind] += 1
    bad = {key: found for key, found in by_key.items() if found[EventKind.FAILED] + found[EventKind.TIMED_OUT]}
    rows = queries.failures(clickhouse, *WINDOW)
    assert {(row.tenant, row.job_type) for row in rows} == set(bad)
    for row in rows:
        found = bad[row.tenant, row.job_type]
        assert (row.failed, row.timed_out, row.cancelled) == (found["failed"], found["timed_out"], found["cancelled"])
        assert row.attempts == found.total()
        assert row.failure_rate == pytest.approx((row.failed + row.timed_out) / row.attempts)
        assert (row.top_error, row.top_error_message) == ("ValueError", "no such page")
        assert row.top_error_count == row.failed + row.timed_out
    assert [row.failed + row.timed_out for row in rows] == sorted((r.failed + r.timed_out for r in rows), reverse=True)


def test_cost_is_run_time_times_the_price_of_one_vcpu_and_unknown_machines_have_the_default_price(
    clickhouse: Client, events: list[JobEvent]
) -> None:
    clickhouse.command(
        "INSERT INTO price_book (instance_type, region, price_per_hour, vcpus, effective_from) VALUES "
        "('m5.large', '', 0.2, 2, '2026-11-24 10:05:00'), ('m5.large', 'us-east-1', 9, 1, '2026-01-01 00:00:00')"
    )

    def price(event: JobEvent) -> float:
        later = event.occurred_at >= FIRST + timedelta(minutes=5)
        return 0.1 if event.instance_type == "m5.large" and later else 0.048

    cost: Counter[str] = Counter()
    wasted: Counter[str] = Counter()
    for event in outcomes(events):
        amount = (event.run_ms or 0) / 3_600_000 * price(event)
        cost[event.tenant] += amount  # type: ignore[assignment]
        if event.kind is not EventKind.SUCCEEDED:
            wasted[event.tenant] += amount  # type: ignore[assignment]
    rows = queries.cost_by_tenant(clickhouse, *WINDOW)
    assert {row.tenant: row.cost for row in rows} == pytest.approx(dict(cost))
    assert {row.tenant: row.wasted_cost for row in rows} == pytest.approx(dict(wasted))
    assert all(row.wasted_share == pytest.approx(row.wasted_cost / row.cost) for row in rows)
    assert {row.currency for row in rows} == {"USD"}


def test_attempt_counts_see_a_doubled_row(clickhouse: Client, events: list[JobEvent]) -> None:
    found = queries.attempt_counts(clickhouse, *WINDOW)
    assert found == queries.AttemptCounts(400, 400, 0, 400, 400)
    clickhouse.command("INSERT INTO job_attempts SELECT * FROM job_attempts LIMIT 3")
    assert queries.attempt_counts(clickhouse, *WINDOW).doubled == 3


def test_a_job_timeline_is_its_events_in_order(clickhouse: Client, events: list[JobEvent]) -> None:
    job_id = events[30].job_id
    steps = queries.job_timeline(clickhouse, job_id)
    assert [step.kind for step in steps][:2] == ["submitted", "started"]
    assert [step.occurred_at for step in steps] == sorted(e.occurred_at for e in events if e.job_id == job_id)
    assert queries.job_timeline(clickhouse, "01a20bcf-7638-75c2-8983-5243777a9632") == []
    with pytest.raises(ValueError, match="badly formed"):
        queries.job_timeline(clickhouse, "no id")
