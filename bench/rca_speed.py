"""Time of a full explanation over 10 M and 50 M attempts with eight dimensions.

A full explanation is what `millstream rca explain` computes: the size of the windows, the dimensions, the pass over
single dimensions, the exact pass over combinations, the scoring, and for each finding its examples, changes and first
failure. Incident and baseline together cover the whole table. The planted cause (a job type on a host) must be named
first.
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from clickhouse_connect.driver.client import Client
from harness import show

from millstream.analytics import connect, migrate, rca
from millstream.local.clickhouse.process import EmbeddedClickHouse

DAY = datetime(2026, 11, 24, tzinfo=UTC)
SLICE = 500_000
INCIDENT_SHARE = 0.1

FILL = """
INSERT INTO job_attempts
    (job_id, attempt, tenant, job_type, lane, source, outcome, final, submitted_at, started_at, finished_at, wait_ms,
     run_ms, total_ms, cpu_ms, worker_id, host, region, instance_type, worker_version)
WITH
    number + {first:UInt64} AS n, rand(1) AS a, rand(2) AS b, rand(3) AS c, rand(4) AS d,
    toDateTime64('2026-11-24 00:00:00', 6, 'UTC')
        + toIntervalMicrosecond(toInt64(n * (86400000000 / {rows:UInt64})) + rand(5) % 1000) AS at
SELECT
    generateUUIDv4(), 1, concat('tenant-', toString(intDiv((a % 200) * (a % 200), 200))),
    concat('type-', toString(b % 30)),
    ['high', 'default', 'bulk'][b % 3 + 1], 'bench',
    if(d % 1000 < if(n >= {rows:UInt64} * 0.9 AND c % 40 = 7 AND b % 30 = 5, 500, 20), 'failed', 'succeeded'),
    1, at, at, at, d % 500, b % 3000, 100, 30, concat('worker-', toString(c % 80)), concat('host-', toString(c % 40)),
    ['eu', 'us', 'ap'][c % 3 + 1], ['m5.large', 'c5.large'][c % 2 + 1],
    if(n * 2 > {rows:UInt64} AND c % 2 = 0, '4.2.0', '4.1.9')
FROM numbers({count:UInt64})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 M attempts only, under 45 s")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--rows", type=int, nargs="*", help="numbers of attempts (default: 10 M and 50 M)")
    options = parser.parse_args()
    sizes = options.rows or ([1_000_000] if options.quick else [10_000_000, 50_000_000])
    repeats = 5 if options.quick else 20
    results: dict[str, object] = {}
    with (
        tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder,
        EmbeddedClickHouse(Path(folder), password="") as server,
    ):
        for rows in sizes:
            client = connect(server.url)
            migrate(client, f"rca_{rows}")
            fill(client, rows)
            seconds = [answer(client) for _ in range(repeats)]
            p50, p95 = (round(float(np.percentile(seconds, level)), 3) for level in (50, 95))
            key = "" if rows == sizes[0] else f"_{rows // 1_000_000}m"
            results |= {f"rows{key}": rows, f"full_answer_p50_s{key}": p50, f"full_answer_p95_s{key}": p95}
            client.command(f"DROP DATABASE rca_{rows} SYNC")
    show({**results, "answers": repeats}, options.json, options.quick)


def fill(client: Client, rows: int) -> None:
    """Attempts over one day; the rollups are left out, since this metric does not read them."""
    for view in ("latency_1m_from_attempts", "cost_1m_from_attempts"):
        client.command(f"DROP VIEW {view}")
    began = time.perf_counter()
    for first in range(0, rows, SLICE):
        client.command(FILL, parameters={"first": first, "rows": rows, "count": min(SLICE, rows - first)})
        print(f"{first + SLICE:,} of {rows:,} rows, {time.perf_counter() - began:.0f} s", file=sys.stderr)


def answer(client: Client) -> float:
    """Seconds of one full explanation, which must be right."""
    cut = DAY + timedelta(days=1 - INCIDENT_SHARE)
    began = time.perf_counter()
    incident, past = rca.Window(cut, DAY + timedelta(days=1)), rca.Window(DAY, cut)
    found = rca.explain(client, "failure_rate", incident, baseline=(past,))
    seconds = time.perf_counter() - began
    named = found.attribution.findings[0].dimensions if found.attribution.findings else None
    if named != {"job_type": "type-5", "host": "host-7"} or not found.evidence[0].example_jobs:
        raise SystemExit(f"the planted cause is type-5 on host-7, the answer {named}")
    return seconds


if __name__ == "__main__":
    main()
