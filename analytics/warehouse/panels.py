"""The panels of the Grafana dashboard, one for every view: title, SQL, form and unit.

Panels call the views with Grafana's time range in milliseconds, so that no time zone is involved.
"""

from dataclasses import dataclass
from typing import Literal

FROM, TO = "fromUnixTimestamp64Milli(toInt64(${__from}), 'UTC')", "fromUnixTimestamp64Milli(toInt64(${__to}), 'UTC')"
STEP = "toUInt32(greatest(1, intDiv(${__interval_ms}, 60000)) * 60)"
WINDOW = f"from={FROM}, to={TO}"
LAST_HOUR = f"from=greatest({FROM}, {TO} - INTERVAL 1 HOUR), to={TO}"
"""The last hour of the range, for views that read too much over days."""
MIDDLE = "fromUnixTimestamp64Milli(intDiv(toInt64(${__from}) + toInt64(${__to}), 2), 'UTC')"
HALVES = f"from={MIDDLE}, to={TO}, baseline_from={FROM}, baseline_to={MIDDLE}"
MARGIN_S = 300


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the view that it reads, and how it is drawn."""

    title: str
    view: str
    sql: str
    kind: Literal["timeseries", "table", "barchart", "stat"] = "table"
    unit: str = "short"
    width: int = 12
    counts: tuple[str, ...] = ()
    """Columns that are plain numbers, not in the unit of the panel."""


PANELS = [
    Panel(
        "Arrivals against completions",
        "arrivals_and_completions",
        f"SELECT minute AS time, submitted, finished, backlog_change FROM arrivals_and_completions({WINDOW}, by='')",
        "timeseries",
    ),
    Panel(
        "Events a minute by kind",
        "throughput_by_minute",
        "SELECT minute AS time, toString(kind) AS kind, sum(events) AS events "
        f"FROM throughput_by_minute({WINDOW}) GROUP BY time, kind ORDER BY time",
        "timeseries",
    ),
    Panel("Backlog and age by lane", "backlog", f"SELECT * FROM backlog({WINDOW})", width=24),
    Panel(
        "Wait for a worker",
        "latency_over_time",
        "SELECT step AS time, p50_ms, p95_ms, p99_ms "
        f"FROM latency_over_time({WINDOW}, stage='queue_wait', lane='${{lane}}', step_seconds={STEP})",
        "timeseries",
        "ms",
    ),
    Panel(
        "Run time",
        "latency_over_time",
        "SELECT step AS time, p50_ms, p95_ms, p99_ms "
        f"FROM latency_over_time({WINDOW}, stage='run', lane='${{lane}}', step_seconds={STEP})",
        "timeseries",
        "ms",
    ),
    Panel(
        "Latency by stage",
        "latency_percentiles",
        f"SELECT * FROM latency_percentiles({WINDOW}, by='${{by}}')",
        unit="ms",
        counts=("attempts",),
    ),
    Panel(
        "Error budget",
        "slo_burn_rate",
        f"SELECT * FROM slo_burn_rate(to={TO}, by='${{by}}', objective=${{objective}}, threshold_ms=${{threshold_ms}})",
    ),
    Panel(
        "Failure rate",
        "failure_rate",
        f"SELECT step AS time, dimension, failure_rate FROM failure_rate({WINDOW}, step_seconds={STEP}, by='lane')",
        "timeseries",
        "percentunit",
    ),
    Panel("Error families", "error_families", f"SELECT * FROM error_families({WINDOW}) LIMIT 50"),
    Panel("Retries", "retries", f"SELECT * FROM retries({WINDOW}) LIMIT 50"),
    Panel("Retry storms", "retry_storms", f"SELECT * FROM retry_storms({WINDOW}) LIMIT 50"),
    Panel(
        "Workers over time",
        "utilisation_over_time",
        f"SELECT step AS time, capacity, busy, queued FROM utilisation_over_time({WINDOW}, step_seconds={STEP})",
        "timeseries",
    ),
    Panel("Workers", "worker_utilisation", f"SELECT * FROM worker_utilisation({WINDOW}) LIMIT 200"),
    Panel("Partition skew", "partition_skew", f"SELECT * FROM partition_skew({WINDOW}) LIMIT 50"),
    Panel("Alerts", "alerts_open", f"SELECT * FROM alerts_open({WINDOW}) LIMIT 50"),
    Panel("Incidents", "rca_incidents", f"SELECT * FROM rca_incidents({WINDOW}) LIMIT 50"),
    Panel("Deploys and other changes", "rca_changes", f"SELECT * FROM rca_changes({WINDOW}) LIMIT 50"),
    Panel(
        "Retries and failures",
        "rca_counts",
        "SELECT step AS time, started, finished, retries, failed "
        f"FROM rca_counts({LAST_HOUR}, step_seconds={STEP}) WHERE dimension = ''",
        "timeseries",
    ),
    Panel(
        "Wait for a worker by lane",
        "rca_durations",
        "SELECT step AS time, value AS lane, p95_ms "
        f"FROM rca_durations({LAST_HOUR}, step_seconds={STEP}, stage='queue_wait') "
        "WHERE dimension = 'lane' ORDER BY time",
        "timeseries",
        "ms",
    ),
    Panel(
        "Wasted cost by lane",
        "rca_costs",
        "SELECT step AS time, value AS lane, wasted "
        f"FROM rca_costs({LAST_HOUR}, step_seconds=300) "
        "WHERE dimension = 'lane' ORDER BY time",
        "timeseries",
        "currencyUSD",
    ),
    Panel("Tenants", "tenant_summary", f"SELECT * FROM tenant_summary({WINDOW}) LIMIT 200", width=24),
    Panel(
        "Cost a minute",
        "usage_cost",
        "SELECT minute AS time, toString(lane) AS lane, sum(cost) AS cost "
        f"FROM usage_cost({LAST_HOUR}) GROUP BY time, lane ORDER BY time",
        "timeseries",
        "currencyUSD",
    ),
    Panel("Cost", "cost", f"SELECT * FROM cost({WINDOW}, by='${{cost_by}}') LIMIT 200"),
    Panel("Cost by tenant", "cost_by_tenant", f"SELECT * FROM cost_by_tenant({WINDOW}) LIMIT 200"),
    Panel(
        "Idle cost",
        "idle_cost",
        "SELECT tenant, sum(used_cost) AS used_cost, sum(idle_cost) AS idle_cost "
        f"FROM idle_cost({WINDOW}) GROUP BY tenant ORDER BY idle_cost DESC LIMIT 200",
    ),
    Panel("Budgets", "budget_status", f"SELECT * FROM budget_status(at={TO})"),
    Panel("Prices that apply", "machine_prices", f"SELECT * FROM machine_prices({WINDOW})"),
    Panel("Charges as FOCUS has them", "focus_charges", f"SELECT * FROM focus_charges({WINDOW}) LIMIT 200", width=24),
    Panel(
        "Latency by any dimension", "latency_by_dimension", f"SELECT * FROM latency_by_dimension({WINDOW}, by='host')"
    ),
    Panel("Slowest jobs", "slowest_jobs", f"SELECT * FROM slowest_jobs({WINDOW}, tenant='', job_type='')"),
    Panel("Most expensive jobs", "most_expensive_jobs", f"SELECT * FROM most_expensive_jobs({WINDOW}, tenant='')"),
    Panel("Failures", "failures", f"SELECT * FROM failures({WINDOW}) LIMIT 50"),
    Panel("Given up", "given_up", f"SELECT * FROM given_up({WINDOW}) LIMIT 50"),
    Panel("Jobs worth a look", "example_jobs", f"SELECT * FROM example_jobs({WINDOW})"),
    Panel("Jobs", "job_list", f"SELECT * FROM job_list({WINDOW}, tenant='', state='') LIMIT 200"),
    Panel("One job", "job_timeline", "SELECT * FROM job_timeline(job='${job}')"),
    Panel(
        "The other jobs where one job ran",
        "rca_job_neighbours",
        f"SELECT * FROM rca_job_neighbours(job='${{job}}', margin_s={MARGIN_S})",
    ),
    Panel(
        "What else failed on one job's hosts",
        "rca_job_failures_nearby",
        f"SELECT * FROM rca_job_failures_nearby(job='${{job}}', margin_s={MARGIN_S}) LIMIT 50",
    ),
    Panel(
        "What explains failures of the second half, against the first",
        "rca_attribution",
        f"SELECT * FROM rca_attribution({HALVES}, metric='failure_rate', slow_ms=0) LIMIT 20",
        width=24,
    ),
    Panel(
        "Error messages, and when there were any before",
        "rca_error_messages",
        f"SELECT * FROM rca_error_messages(history={FROM} - INTERVAL 7 DAY, {WINDOW}, deploy={FROM}) "
        "WHERE count > 0 LIMIT 50",
        width=24,
    ),
    Panel("Attempts by any dimension", "rca_metrics", f"SELECT * FROM rca_metrics({WINDOW}, by='${{by}}') LIMIT 50"),
    Panel("Where work queues up", "rca_load", f"SELECT * FROM rca_load({WINDOW}, by='lane')"),
    Panel("Workers at their ceiling", "rca_busy", f"SELECT * FROM rca_busy({WINDOW}, by='worker') LIMIT 50"),
    Panel("Who makes whom wait", "rca_blame", f"SELECT * FROM rca_blame({WINDOW}) WHERE victim != culprit LIMIT 50"),
    Panel(
        "Failure rate and retries by the second",
        "rca_timeseries",
        f"SELECT step AS time, failure_rate, retry_share FROM rca_timeseries({LAST_HOUR}, step_seconds=10)",
        "timeseries",
        "percentunit",
    ),
    Panel("Attempts, and doubled rows", "attempt_counts", f"SELECT * FROM attempt_counts({WINDOW})"),
    Panel(
        "Throughput by the second",
        "throughput",
        f"SELECT step AS time, submitted, started, finished, failed FROM throughput({LAST_HOUR}, step_seconds=10)",
        "timeseries",
    ),
]

VARIABLES = {
    "lane": "",
    "by": "tenant",
    "objective": "0.99",
    "threshold_ms": "30000",
    "cost_by": "team",
    "job": "00000000-0000-0000-0000-000000000000",
}
"""The text boxes of the dashboard, with their first values."""


def rendered_sql(panel: Panel, start_ms: int, end_ms: int, interval_ms: int = 300_000) -> str:
    """The panel's SQL as Grafana sends it for a time range in milliseconds since 1970."""
    values = VARIABLES | {"__from": str(start_ms), "__to": str(end_ms), "__interval_ms": str(interval_ms)}
    sql = panel.sql
    for name, value in values.items():
        sql = sql.replace(f"${{{name}}}", value)
    return sql
