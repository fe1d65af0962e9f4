"""How long every view takes on 20 million attempts of one day, and how much it reads.

The attempts are pretended inside ClickHouse (`analytics/sample/`): 19.35 million jobs of 40 tenants and 25 job types, 60
million events, through the landing table and every rollup, as the sink would have inserted them. Then each view is asked
for the whole day, as a dashboard would, several times over HTTP; a time is from sending the query to holding the answer.

A view that reads only rollups is fit for a dashboard and has to answer within 300 ms; the others read rows one by one and
are for looking closer, so they are asked for one hour as well. `--keep DATABASE` leaves the tables on the server named by
`--clickhouse`, and a run that finds them there does not fill them again. With --quick: 600,000 attempts in an hour.
"""

import json
import statistics
import time
from datetime import UTC, datetime, timedelta

import httpx
from clickhouse_connect.driver.client import Client
from rig import Rig

from millstream.analytics import connect, migrate, sample
from millstream.analytics.catalogue import View, views

START = datetime(2026, 11, 24, tzinfo=UTC)
KEPT_DAYS = 20_000
LIMIT_MS = 300.0


def main() -> None:
    rig = Rig(__doc__)
    jobs, seconds, rounds = (580_000, 3600, 3) if rig.quick else (19_350_000, 86_400, 15)
    with rig.clickhouse() as url:
        client = connect(url, query_timeout=1800)
        migrate(client, "bench_queries", raw_days=KEPT_DAYS, rollup_days=KEPT_DAYS)
        present = int(client.query("SELECT count() FROM jobs").result_rows[0][0])
        filled_s = 0.0
        if present < jobs:
            began = time.perf_counter()
            with rig.step("pretending jobs", jobs) as advance:
                sample.fill(client, jobs, START, seconds, advance)
            filled_s = round(time.perf_counter() - began, 1)
            rig.say("merging parts as a server would have by now")
            settle(client)
        attempts = int(client.query("SELECT count() FROM job_attempts").result_rows[0][0])
        asked = [(view, seconds) for view in views()]
        asked += [(view, 3600) for view in views() if view.reads_rows and seconds > 3600]
        figures = {}
        with rig.step("asking views", len(asked) * rounds) as advance, httpx.Client(base_url=url, timeout=600) as http:
            for view, window in asked:
                found = []
                for _ in range(rounds):
                    found.append(ask(http, view, window))
                    advance(1)
                figures[view.name if window == seconds else f"{view.name} (1 h)"] = summary(found)
    for name, figure in figures.items():
        times = f"{figure['p50_ms']:>9,.1f} ms p50 {figure['p95_ms']:>9,.1f} ms p95"
        rig.say(f"{name:<32} {times} {figure['bytes_read'] / 1e6:>10,.1f} MB {figure['rows_read']:>12,} rows")
    dashboard = {
        view.name: figures[view.name]["p95_ms"] for view in views() if not view.reads_rows and not view.is_part
    }
    slow = {name: p95 for name, p95 in dashboard.items() if p95 > LIMIT_MS}
    rig.finish(
        {
            "attempts": attempts,
            "fill_seconds": filled_s,
            "rounds": rounds,
            "dashboard_views": len(dashboard),
            "dashboard_slowest_p95_ms": max(dashboard.values()),
            "dashboard_views_over_300_ms": len(slow),
            "views": figures,
        }
    )
    if slow and not rig.quick:
        raise SystemExit(f"over {LIMIT_MS:g} ms: {json.dumps(slow)}")


def settle(client: Client) -> None:
    """Wait until nothing is left to merge, at most two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and int(client.query("SELECT count() FROM system.merges").result_rows[0][0]):
        time.sleep(1)


def ask(http: httpx.Client, view: View, window_s: int) -> tuple[float, int, int]:
    """Milliseconds, bytes and rows read by one answer."""
    end = START + timedelta(hours=12, seconds=window_s / 2) if window_s < 86_400 else START + timedelta(days=1)
    values = {
        "from": f"'{end - timedelta(seconds=window_s):%Y-%m-%d %H:%M:%S}'",
        "to": f"'{end:%Y-%m-%d %H:%M:%S}'",
        "at": f"'{end:%Y-%m-%d %H:%M:%S}'",
        "by": "'tenant'",
        "step_seconds": "300",
        "stage": "'queue_wait'",
        "objective": "0.99",
        "threshold_ms": "30000",
        "job": "'01a20ada-2c00-7000-aed5-dc2cc1a689af'",
    }
    arguments = ", ".join(f"{name}={values.get(name, chr(39) * 2)}" for name in view.parameters)
    parameters = {"database": "bench_queries", "default_format": "JSONCompact", "wait_end_of_query": "1"}
    columns = "stage, sum(attempts)" if view.name == "latency_spans" else "*"
    grouped = " GROUP BY stage" if view.name == "latency_spans" else ""
    began = time.perf_counter()
    answer = http.post("/", params=parameters, content=f"SELECT {columns} FROM {view.name}({arguments}){grouped}")
    took_ms = (time.perf_counter() - began) * 1000
    if answer.is_error:
        raise SystemExit(f"{view.name}: {answer.text}")
    read = json.loads(answer.headers["X-ClickHouse-Summary"])
    return took_ms, int(read["read_bytes"]), int(read["read_rows"])


def summary(found: list[tuple[float, int, int]]) -> dict[str, float | int]:
    times = sorted(took for took, _, _ in found)
    return {
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[min(len(times) - 1, round(0.95 * (len(times) - 1)))], 1),
        "bytes_read": found[-1][1],
        "rows_read": found[-1][2],
    }


if __name__ == "__main__":
    main()
