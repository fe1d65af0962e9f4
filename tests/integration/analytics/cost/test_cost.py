"""Money: the price of the time, the shares of idle time, and alerts that are sent once; to a ten-millionth."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.cost.budgets import budget_alerts, budget_gaps
from millstream.analytics.cost.price_files import Budget, InvalidFile, Price
from millstream.analytics.cost.prices import load, replacement
from millstream.schemas.alert import Severity

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
COLUMNS = [
    "job_id",
    "attempt",
    "tenant",
    "job_type",
    "lane",
    "labels",
    "outcome",
    "final",
    "submitted_at",
    "finished_at",
]
COLUMNS += ["run_ms", "cpu_ms", "instance_type", "region", "total_ms"]


def attempt(
    minutes: float, tenant: str = "acme", outcome: str = "succeeded", run_h: float = 1, **more: Any
) -> list[Any]:
    at = NOON + timedelta(minutes=minutes)
    row = {
        "job_id": f"00000000-0000-0000-0000-{abs(hash((minutes, tenant, outcome))) % 10**12:012d}",
        "attempt": 1, "tenant": tenant, "job_type": "reports.render", "lane": "default", "labels": {"team": "growth"},
        "outcome": outcome, "final": True, "submitted_at": at, "finished_at": at, "run_ms": run_h * 3_600_000,
        "cpu_ms": 0.0, "instance_type": "box", "region": "here", "total_ms": 1.0,
    } | more  # fmt: skip
    return [row[name] for name in COLUMNS]


def costs(client: Client, by: str, start: datetime = NOON, hours: float = 2) -> dict[str, tuple[object, object]]:
    rows = client.query(
        "SELECT dimension, cost, wasted_cost FROM cost("
        f"from='{start:%Y-%m-%d %H:%M:%S}', to='{start + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}', by='{by}')"
    ).result_rows
    return {str(row[0]): (pytest.approx(row[1], abs=1e-7), pytest.approx(row[2], abs=1e-7)) for row in rows}


def test_an_attempt_costs_what_its_machine_cost_in_its_minute_also_within_an_hour(clickhouse: Client) -> None:
    load(
        clickhouse,
        [
            Price(instance_type="box", price_per_hour=4, vcpus=2),
            Price(instance_type="box", price_per_hour=8, vcpus=2, effective_from=NOON + timedelta(minutes=30)),
        ],
    )
    rows = [attempt(5), attempt(29.5, outcome="failed"), attempt(31), attempt(70)]
    clickhouse.insert("job_attempts", rows, COLUMNS)
    assert costs(clickhouse, "tenant") == {"acme": (2 + 2 + 4 + 4, 2)}
    assert costs(clickhouse, "team") == {"growth": (12, 2)}
    assert costs(clickhouse, "day") == {"2026-11-24": (12, 2)}
    assert costs(clickhouse, "outcome") == {"succeeded": (10, 0), "failed": (2, 2)}
    assert costs(clickhouse, "", NOON + timedelta(minutes=10), 0.5) == {"": (2 + 4, 2)}


def test_an_attempt_that_uses_more_cores_than_one_pays_for_them(clickhouse: Client) -> None:
    load(clickhouse, [Price(instance_type="box", price_per_hour=4, vcpus=4)])
    clickhouse.insert(
        "job_attempts", [attempt(5, cpu_ms=3 * 3_600_000.0), attempt(6, tenant="b", cpu_ms=10.0)], COLUMNS
    )
    assert costs(clickhouse, "tenant") == {"acme": (3, 0), "b": (1, 0)}


def test_the_nearest_price_applies_type_before_option_before_region(clickhouse: Client) -> None:
    load(
        clickhouse,
        [
            Price(instance_type="default", price_per_hour=1, vcpus=1),
            Price(instance_type="box", price_per_hour=2, vcpus=1),
            Price(instance_type="box", region="here", price_per_hour=3, vcpus=1),
            Price(instance_type="box", purchase_option="spot", price_per_hour=0.5, vcpus=1),
        ],
        replace=True,
    )
    machines = [("box", "here"), ("box", "there"), ("box/spot", "here"), ("other", "here"), ("other/spot", "")]
    rows = [attempt(n, tenant=f"{t}@{r}", instance_type=t, region=r) for n, (t, r) in enumerate(machines)]
    clickhouse.insert("job_attempts", rows, COLUMNS)
    assert {name: cost for name, (cost, _) in costs(clickhouse, "tenant").items()} == {
        "box@here": 3, "box@there": 2, "box/spot@here": 0.5, "other@here": 1, "other/spot@": 1,
    }  # fmt: skip


def test_idle_time_is_shared_by_use_and_together_with_used_time_is_what_machines_cost(clickhouse: Client) -> None:
    load(clickhouse, [Price(instance_type="box", price_per_hour=6, vcpus=4)])
    heartbeats = [
        [worker, NOON + timedelta(seconds=second), "host", "here", "box", 10, 4, 2.0]
        for second in range(3600)
        for worker in ("one", "two")
    ]
    names = ["worker_id", "occurred_at", "host", "region", "instance_type", "capacity", "busy", "cpu_limit"]
    clickhouse.insert("worker_heartbeats", heartbeats, names)
    clickhouse.insert("job_attempts", [attempt(5, run_h=3), attempt(6, tenant="b", run_h=1)], COLUMNS)
    rows = clickhouse.query(
        "SELECT tenant, machine_hours, machine_cost, utilisation, used_cost, idle_cost "
        "FROM idle_cost(from='2026-11-24 12:00:00', to='2026-11-24 13:00:00') ORDER BY tenant"
    ).result_rows
    # Two workers with two of the host's four cores each: together the whole host for an hour, six tenths of it idle.
    assert [tuple(row) for row in rows] == [
        ("acme", pytest.approx(1), pytest.approx(6), pytest.approx(0.4), pytest.approx(1.8), pytest.approx(2.7)),
        ("b", pytest.approx(1), pytest.approx(6), pytest.approx(0.4), pytest.approx(0.6), pytest.approx(0.9)),
    ]
    nobody = clickhouse.query("SELECT sum(idle_cost), groupUniqArray(tenant) FROM idle_cost("
                              "from='2026-11-24 12:10:00', to='2026-11-24 12:20:00')").result_rows  # fmt: skip
    assert nobody == [(pytest.approx(6 / 6 * 0.6), [""])]


def test_a_budget_gets_one_alert_for_each_severity(clickhouse: Client) -> None:
    load(clickhouse, [Price(instance_type="box", price_per_hour=2, vcpus=1)])
    load(clickhouse, [Budget(tenant="acme", monthly_cost=10), Budget(tenant="b", monthly_cost=10)])
    clickhouse.insert("job_attempts", [attempt(1, run_h=4.5), attempt(1, tenant="b", run_h=1)], COLUMNS)
    first = budget_alerts(clickhouse, NOON + timedelta(hours=1))
    assert [(alert.subject, alert.severity) for alert in first] == [("acme", Severity.WARNING)]
    assert "9.00 of 10.00 USD (90%)" in first[0].summary
    tell(clickhouse, first)
    assert budget_alerts(clickhouse, NOON + timedelta(hours=1)) == []
    clickhouse.insert("job_attempts", [attempt(2, run_h=1)], COLUMNS)
    second = budget_alerts(clickhouse, NOON + timedelta(hours=2))
    assert [(alert.severity, alert.opened_at) for alert in second] == [(Severity.CRITICAL, first[0].opened_at)]
    tell(clickhouse, second)
    assert budget_alerts(clickhouse, NOON + timedelta(hours=3)) == []
    assert budget_alerts(clickhouse, NOON + timedelta(days=30)) == []


def tell(client: Client, alerts: list[Any]) -> None:
    names = ["fingerprint", "kind", "severity", "opened_at", "subject", "summary"]
    client.insert("alerts", [[getattr(alert, name) for name in names] for alert in alerts], names)


def test_focus_charges_add_up_to_the_cost_and_satisfy_the_rules_for_rows(clickhouse: Client) -> None:
    load(clickhouse, [Price(instance_type="box", price_per_hour=2, vcpus=1)])
    rows = [
        attempt(n, tenant=t, outcome=o)
        for n, (t, o) in enumerate([("a", "succeeded"), ("a", "failed"), ("b", "succeeded")])
    ]
    clickhouse.insert("job_attempts", rows, COLUMNS)
    text = clickhouse.raw_query(
        "SELECT * FROM focus_charges(from='2026-11-24', to='2026-11-25')", fmt="CSVWithNames"
    ).decode()
    charges = list(csv.DictReader(io.StringIO(text)))
    paid: Counter[str] = Counter()
    for charge in charges:
        paid[charge["SubAccountId"]] += float(charge["BilledCost"])  # type: ignore[assignment]
        assert float(charge["ListUnitPrice"]) * float(charge["PricingQuantity"]) == pytest.approx(
            float(charge["ListCost"])
        )
        assert (
            charge["BillingPeriodStart"]
            <= charge["ChargePeriodStart"]
            < charge["ChargePeriodEnd"]
            <= charge["BillingPeriodEnd"]
        )
        assert json.loads(charge["Tags"])["team"] == "growth"
    assert paid == {"a": pytest.approx(4), "b": pytest.approx(2)}


HOUR = "from='2026-11-24 12:00:00', to='2026-11-24 13:00:00'"
DEFAULT = Price(instance_type="default", price_per_hour=1, vcpus=1)


def book(client: Client) -> set[tuple[str, float]]:
    return {(str(kind), price) for kind, price in client.query("SELECT instance_type, price_per_hour FROM price_book")
            .result_rows}  # fmt: skip


def test_use_that_no_price_covers_costs_nothing_and_is_said_to_be_unpriced_in_every_view(clickhouse: Client) -> None:
    clickhouse.command("TRUNCATE TABLE price_book")
    box = {"instance_type": "box", "price_per_hour": 2, "vcpus": 1, "currency": "EUR"}
    names = [*box, "effective_from", "effective_to"]
    clickhouse.insert(
        "price_book",
        [
            [*box.values(), NOON + timedelta(minutes=10), NOON + timedelta(minutes=20)],
            [*box.values(), NOON + timedelta(minutes=30), NOON + timedelta(days=1)],
        ],
        names,
    )
    clickhouse.insert("budgets", [["acme", "EUR", 100.0]], ["tenant", "currency", "monthly_cost"])
    # Before the first price, in a gap between prices, and of a machine that has none; the last one is priced.
    rows = [
        attempt(1, run_h=1),
        attempt(25, run_h=2),
        attempt(40, run_h=4, instance_type="other"),
        attempt(41, run_h=8),
    ]
    clickhouse.insert("job_attempts", rows, COLUMNS)
    heartbeats = [[NOON + timedelta(seconds=second), "w", "h", "box", "here", 1, 1] for second in range(900)]
    clickhouse.insert(
        "worker_heartbeats",
        heartbeats,
        ["occurred_at", "worker_id", "host", "instance_type", "region", "capacity", "busy"],
    )

    def asked(what: str, call: str) -> list[Any]:
        return [tuple(row) for row in clickhouse.query(f"SELECT {what} FROM {call}").result_rows]

    spent = [(pytest.approx(16), pytest.approx(7), "EUR")]
    assert asked("cost, unpriced_hours, currency", f"cost({HOUR}, by='')") == spent
    assert asked("cost, unpriced_hours, currency", f"cost_by_tenant({HOUR})") == spent
    assert asked("sum(cost), sum(unpriced_hours), any(currency)", f"usage_cost({HOUR})") == spent
    assert asked("sum(cost), sum(unpriced_hours), any(currency)", f"most_expensive_jobs({HOUR}, tenant='')") == spent
    assert asked("sum(cost), sum(wasted)", f"rca_costs({HOUR}, step_seconds=300) WHERE dimension = ''") == [(16, 0)]
    assert asked("sum(BilledCost), groupUniqArray(BillingCurrency)", f"focus_charges({HOUR})") == [(16, ["EUR"])]
    assert asked("spent, unpriced_hours, status", "budget_status(at='2026-11-24 13:00:00')") == [(16, 7, "ok")]
    idle = asked("machine_cost, machine_hours, unpriced_machine_hours, currency", f"idle_cost({HOUR}) LIMIT 1")
    assert idle == [(pytest.approx(2 * 5 / 60), pytest.approx(0.25), pytest.approx(10 / 60), "EUR")]
    assert budget_gaps(clickhouse, NOON + timedelta(hours=1)) == [
        "acme: 7.00 vCPU hours of this month have no price and are not included"
    ]


@pytest.mark.parametrize(
    "prices",
    [
        [Price(instance_type="box", price_per_hour=1, vcpus=1)],
        [Price(instance_type="default", price_per_hour=1, vcpus=1, effective_from=NOON)],
        [Price(instance_type="default", price_per_hour=1, vcpus=1, region="here")],
        [
            Price(instance_type="default", price_per_hour=1, vcpus=1, effective_to=NOON),
            Price(instance_type="default", price_per_hour=1, vcpus=1, effective_from=NOON + timedelta(minutes=1)),
        ],
    ],
)
def test_a_book_in_which_an_unknown_machine_would_cost_nothing_is_refused(
    clickhouse: Client, prices: list[Price]
) -> None:
    before = book(clickhouse)
    with pytest.raises(InvalidFile, match="no price of the instance type 'default'"):
        load(clickhouse, prices, replace=True)
    assert book(clickhouse) == before


def test_prices_in_another_currency_than_the_book_are_refused_unless_they_replace_it(clickhouse: Client) -> None:
    euros = [DEFAULT.model_copy(update={"currency": "EUR", "instance_type": name}) for name in ("default", "box")]
    with pytest.raises(InvalidFile, match="several currencies"):
        load(clickhouse, euros)
    load(clickhouse, euros, replace=True)
    assert book(clickhouse) == {("default", 1), ("box", 1)}


def test_a_budget_in_another_currency_than_the_prices_is_refused_and_never_ok(clickhouse: Client) -> None:
    with pytest.raises(InvalidFile, match="the budget of acme is in EUR, but the prices are in USD"):
        load(clickhouse, [Budget(tenant="b", monthly_cost=1), Budget(tenant="acme", monthly_cost=1, currency="EUR")])
    load(clickhouse, [Budget(tenant="acme", monthly_cost=1)])
    load(clickhouse, [DEFAULT.model_copy(update={"currency": "EUR"})], replace=True)
    status = clickhouse.query("SELECT tenant, status FROM budget_status(at='2026-11-24 13:00:00')").result_rows
    assert status == [("acme", "other currency")]
    assert budget_alerts(clickhouse, NOON) == []
    assert budget_gaps(clickhouse, NOON) == ["acme: the budget is in USD and the prices are not: load the budget again"]


def test_a_replacement_that_fails_half_way_leaves_the_book_as_it_was(
    clickhouse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = book(clickhouse)

    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(clickhouse, "insert", fails)
        with pytest.raises(ConnectionError):
            load(clickhouse, [DEFAULT], replace=True)
    assert book(clickhouse) == before != {("default", 1)}
    load(clickhouse, [DEFAULT], replace=True)
    assert book(clickhouse) == {("default", 1)}


def test_in_a_cluster_the_local_tables_are_exchanged_which_hold_the_rows(clickhouse: Client) -> None:
    before, after = replacement("price_book", "instance_type", "main")
    for statement in [*before, *after]:
        assert "price_book" in str(clickhouse.command(f"EXPLAIN AST {statement}")), statement
        assert "ON CLUSTER `main`" in statement
    assert "cityHash64(instance_type)" in before[-1]
    assert after[0] == "EXCHANGE TABLES price_book_next_local AND price_book_local ON CLUSTER `main`"


@pytest.mark.parametrize(
    ("option", "category"),
    [
        ("on_demand", "Standard"),
        ("spot", "Dynamic"),
        ("reserved", "Committed"),
        ("savings_plan", "Committed"),
        ("barter", "Other"),
    ],
)
def test_the_pricing_category_of_focus_is_that_of_the_price_which_applied(
    clickhouse: Client, option: str, category: str
) -> None:
    load(clickhouse, [Price(instance_type="box", purchase_option=option, price_per_hour=2, vcpus=1)])
    clickhouse.insert("job_attempts", [attempt(1, instance_type=f"box/{option}")], COLUMNS)
    assert clickhouse.query(f"SELECT PricingCategory FROM focus_charges({HOUR})").result_rows == [(category,)]
