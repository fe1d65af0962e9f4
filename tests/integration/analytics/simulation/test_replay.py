"""What a replay starts from: when jobs were due, and what one worker cost."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.cost.price_files import Price
from millstream.analytics.simulation import replay
from millstream.analytics.simulation.replay import jobs, workers
from millstream.analytics.simulation.simulation import Scenario, simulate
from tests.support.price_book import set_prices

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
WINDOW = {"from": "2026-11-24 12:00:00", "to": "2026-11-24 13:00:00"}
JOB = ["job_id", "attempt", "lane", "submitted_at", "started_at", "finished_at", "wait_ms", "run_ms"]
HEARTBEAT = ["worker_id", "occurred_at", "host", "region", "instance_type", "capacity", "cpu_limit"]


def heartbeats(
    client: Client, host: str, names: Sequence[str], *, kind: str = "box", minutes: range = range(60), cores: float = 0
) -> None:
    rows = [
        [name, NOON + timedelta(minutes=minute, seconds=second), host, "here", kind, 10, cores]
        for minute in minutes
        for second in range(60)
        for name in names
    ]
    client.insert("worker_heartbeats", rows, HEARTBEAT)


def test_a_job_comes_when_it_is_due_not_when_it_was_submitted(clickhouse: Client) -> None:
    due = [NOON + timedelta(minutes=1 + number) for number in range(10)]
    rows = [
        [f"00000000-0000-0000-0000-{number:012d}", 1, "default", NOON, at, at + timedelta(seconds=59), 0.0, 59_000.0]
        for number, at in enumerate(due)
    ]
    clickhouse.insert("job_attempts", rows, JOB)
    found = jobs(clickhouse, WINDOW)
    assert [arrival.at_s for arrival in found.arrivals] == pytest.approx([60 * number for number in range(10)])
    assert simulate(found.arrivals, Scenario("one slot", 1, 1)).waits.p95_s == pytest.approx(0, abs=1e-3)


def test_a_wait_in_the_record_is_taken_off_and_what_never_started_is_no_arrival(clickhouse: Client) -> None:
    ids = [f"00000000-0000-0000-0000-{number:012d}" for number in range(4)]
    start = NOON + timedelta(seconds=40)
    end = NOON + timedelta(seconds=50)
    rows = [
        [ids[0], 1, "high", NOON, start, end, 30_000.0, 10_000.0],
        [ids[1], 1, "bulk", NOON, start, end, 10_000.0, None],
        [ids[2], 1, "bulk", NOON, None, end, None, None],
        [ids[3], 2, "bulk", NOON, start, end, 5.0, 5.0],
    ]
    clickhouse.insert("job_attempts", rows, JOB)
    found = jobs(clickhouse, WINDOW)
    assert [(each.at_s, each.lane, each.run_s) for each in found.arrivals] == [(0, "high", 10), (20, "bulk", 0)]
    assert found.recorded == 2


def test_a_record_that_is_cut_says_how_long_it_was(clickhouse: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_JOBS", 3)
    rows = [
        [f"00000000-0000-0000-0000-{n:012d}", 1, "default", NOON, NOON + timedelta(seconds=n), NOON, 0.0, 1.0]
        for n in range(5)
    ]
    clickhouse.insert("job_attempts", rows, JOB)
    found = jobs(clickhouse, WINDOW)
    assert ([arrival.at_s for arrival in found.arrivals], found.recorded) == ([0, 1, 2], 5)
    assert jobs(clickhouse, {"from": "2026-11-25 12:00:00", "to": "2026-11-25 13:00:00"}).recorded == 0


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c", "d"]])
def test_the_workers_of_a_machine_share_its_price(clickhouse: Client, names: list[str]) -> None:
    set_prices(clickhouse, [Price(instance_type="box", price_per_hour=6, vcpus=4)])
    heartbeats(clickhouse, "one", names)
    found = workers(clickhouse, WINDOW)
    assert (found.number, found.slots, found.unknown) == (len(names), 10, "")
    assert found.price_per_hour == pytest.approx(6 / len(names))


def test_a_machine_counts_by_the_time_its_workers_lived_and_by_the_cores_they_may_use(clickhouse: Client) -> None:
    prices = [
        Price(instance_type="box", price_per_hour=4, vcpus=4),
        Price(instance_type="big", price_per_hour=40, vcpus=8),
        Price(instance_type="big", price_per_hour=80, vcpus=8, effective_from=NOON + timedelta(minutes=30)),
    ]
    set_prices(clickhouse, prices)
    heartbeats(clickhouse, "one", ["a"])
    heartbeats(clickhouse, "two", ["b"], kind="big", minutes=range(20, 40), cores=2)
    heartbeats(clickhouse, "two", ["c"], kind="big", minutes=range(20, 40), cores=2)
    # One machine for an hour at 4; half a machine for a sixth of an hour at 40 and for another at 80.
    cost = 4 + 20 / 6 + 40 / 6
    assert workers(clickhouse, WINDOW).price_per_hour == pytest.approx(cost / (1 + 1 / 3 + 1 / 3))
    machine_cost = (
        "SELECT sum(used_cost + idle_cost) "
        "FROM idle_cost(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')})"
    )
    assert clickhouse.query(machine_cost, parameters=WINDOW).result_rows == [(pytest.approx(cost),)]


def test_without_a_price_or_with_two_currencies_the_price_of_a_worker_is_not_known(clickhouse: Client) -> None:
    assert workers(clickhouse, WINDOW).unknown == "no worker sent a heartbeat in this window"
    set_prices(clickhouse, [Price(instance_type="box", price_per_hour=4, vcpus=4)])
    heartbeats(clickhouse, "one", ["a"])
    heartbeats(clickhouse, "two", ["b"], kind="odd", minutes=range(1))
    found = workers(clickhouse, WINDOW)
    assert (found.number, found.price_per_hour) == (2, None)
    assert found.unknown == "the price book has no price for machines of type 'odd'"
    names = ["instance_type", "price_per_hour", "vcpus", "currency"]
    clickhouse.insert("price_book", [["odd", 4, 4, "EUR"]], names)
    found = workers(clickhouse, WINDOW)
    assert (found.price_per_hour, found.unknown) == (None, "prices are in EUR and USD")


def test_a_machine_that_costs_nothing_has_a_known_price(clickhouse: Client) -> None:
    set_prices(clickhouse, [Price(instance_type="box", price_per_hour=0, vcpus=4)])
    heartbeats(clickhouse, "one", ["a"])
    assert workers(clickhouse, WINDOW).price_per_hour == 0
