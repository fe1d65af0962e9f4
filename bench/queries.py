"""Time and bytes read of every view on 20 million attempts of one day.

The attempts are synthetic, made inside ClickHouse (`analytics/warehouse/synthetic/`): 19.35 million jobs of 40 tenants
and 25 job types, 60 million events, through the landing table and every rollup, as the sink would have inserted them.
Then each panel of the Grafana dashboard is queried for the whole day, several times over HTTP; a time is from sending
the query to the end of the response.

Panels on rollups have to answer within 300 ms. The others read rows one by one and are queried
for one hour. Tables that exist already (on a server named by `--clickhouse`) are not filled again. With --quick:
600,000 attempts in an hour.
"""

import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from clickhouse_connect.driver.client import Client
from harness import Harness

from millstream.analytics import connect, migrate
from millstream.analytics.warehouse.catalogue import view
from millstream.analytics.warehouse.panels import PANELS, Panel, rendered_sql
from millstream.analytics.warehouse.synthetic import history

START = datetime(2026, 11, 24, tzinfo=UTC)
KEPT_DAYS = 20_000
LIMIT_MS = 300.0
DATABASE = "bench_queries"

Figure = dict[str, Any]


def main() -> None:
    harness = Harness(__doc__)
    jobs, seconds, rounds = (580_000, 3600, 3) if harness.quick else (19_350_000, 86_400, 15)
    with harness.clickhouse() as url:
        client = connect(url, query_timeout=1800)
        migrate(client, DATABASE, raw_days=KEPT_DAYS, rollup_days=KEPT_DAYS)
        present = int(client.query("SELECT count() FROM jobs").result_rows[0][0])
        filled_s = 0.0
        if present < jobs:
            began = time.perf_counter()
            with harness.step("pretending jobs", jobs) as advance:
                history.fill(client, jobs, START, seconds, advance)
            filled_s = round(time.perf_counter() - began, 1)
            harness.say("merging parts as a server would have by now")
            settle(client)
        attempts = int(client.query("SELECT count() FROM job_attempts").result_rows[0][0])
        whole, hour = (seconds, rounds), (min(3600, seconds), 3)
        questions = [(panel, *(whole if rollups_only(panel) else hour)) for panel in PANELS]
        figures = {}
        total = sum(times for _, _, times in questions)
        with harness.step("asking", total) as advance, httpx.Client(base_url=url, timeout=600) as http:
            for panel, window, times in questions:
                found = []
                for _ in range(times):
                    found.append(ask(http, panel, window, seconds))
                    advance(1)
                figures[panel.title] = summary(panel, window, found)
    for title, figure in figures.items():
        times_ms = f"{figure['p50_ms']:>9,.1f} ms p50 {figure['p95_ms']:>9,.1f} ms p95"
        read = f"{figure['bytes_read'] / 1e6:>10,.1f} MB {figure['rows_read']:>12,} rows"
        harness.say(f"{title:<30} {figure['window_s'] // 3600:>3} h {times_ms} {read}")
    dashboard = {panel.title: figures[panel.title]["p95_ms"] for panel in PANELS if rollups_only(panel)}
    slow = {title: p95 for title, p95 in dashboard.items() if p95 > LIMIT_MS}
    harness.finish(
        {
            "attempts": attempts,
            "fill_seconds": filled_s,
            "rounds": rounds,
            "rollup_panels": len(dashboard),
            "rollup_panels_slowest_p95_ms": max(dashboard.values()),
            "rollup_panels_over_300_ms": len(slow),
            "panels": figures,
        }
    )
    if slow and not harness.quick:
        raise SystemExit(f"over {LIMIT_MS:g} ms: {json.dumps(slow)}")


def settle(client: Client) -> None:
    """Wait until no merge runs, at most two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and int(client.query("SELECT count() FROM system.merges").result_rows[0][0]):
        time.sleep(1)


def rollups_only(panel: Panel) -> bool:
    return not view(panel.view).reads_rows


def ask(http: httpx.Client, panel: Panel, window_s: int, whole_s: int) -> tuple[float, int, int]:
    """Milliseconds, bytes and rows read by one query; a shorter window lies in the middle of the data."""
    end = START + timedelta(seconds=whole_s if window_s == whole_s else (whole_s + window_s) / 2)
    end_ms = int(end.timestamp() * 1000)
    sql = rendered_sql(panel, end_ms - window_s * 1000, end_ms, max(60_000, window_s * 1000 // 300))
    parameters = {"database": DATABASE, "default_format": "JSONCompact", "wait_end_of_query": "1"}
    began = time.perf_counter()
    answer = http.post("/", params=parameters, content=sql)
    took_ms = (time.perf_counter() - began) * 1000
    if answer.is_error:
        raise SystemExit(f"{panel.title}: {answer.text}")
    read = json.loads(answer.headers["X-ClickHouse-Summary"])
    return took_ms, int(read["read_bytes"]), int(read["read_rows"])


def summary(panel: Panel, window_s: int, found: list[tuple[float, int, int]]) -> Figure:
    times = sorted(took for took, _, _ in found)
    return {
        "view": panel.view,
        "window_s": window_s,
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[min(len(times) - 1, round(0.95 * (len(times) - 1)))], 1),
        "bytes_read": found[-1][1],
        "rows_read": found[-1][2],
    }


if __name__ == "__main__":
    main()
