"""Sorting keys and codecs of attempts and events: bytes a row, and the time of the usual queries.

A million synthetic jobs (`analytics/warehouse/synthetic/`); the rows of `job_attempts` are copied into one table for
each alternative, merged to one part a day, and queried: one tenant's hour, one hour of all, one job by its id, all by
host. Times are the best of several rounds with warm caches, so that the work differs, not the disk.
"""

import re
import time
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from harness import Harness

from millstream.analytics import connect, migrate
from millstream.analytics.warehouse.synthetic import history

START = datetime(2026, 11, 24, tzinfo=UTC)
DATABASE = "bench_storage"
KEYS = {
    "tenant, job_type, finished_at (chosen)": "(tenant, job_type, finished_at)",
    "finished_at": "finished_at",
    "tenant, finished_at": "(tenant, finished_at)",
    "job_id": "job_id",
    "toStartOfHour(finished_at), tenant, job_type": "(toStartOfHour(finished_at), tenant, job_type)",
}
CODECS = {
    "as chosen": {},
    "ClickHouse's default (LZ4)": {"all": "CODEC(Default)"},
    "ZSTD(1) everywhere": {"all": "CODEC(ZSTD(1))"},
    "ZSTD(3) everywhere": {"all": "CODEC(ZSTD(3))"},
    "DoubleDelta for all times": {"time": "CODEC(DoubleDelta, ZSTD(1))"},
    "Gorilla for durations": {"float": "CODEC(Gorilla, ZSTD(1))"},
    "String instead of LowCardinality": {"string": "String CODEC(ZSTD(1))"},
}
QUESTIONS = {
    "one_tenant_hour_ms": "SELECT count(), avg(run_ms) FROM {} WHERE tenant = 'tenant-7' "
    "AND finished_at >= '2026-11-24 12:00:00' AND finished_at < '2026-11-24 13:00:00'",
    "one_hour_ms": "SELECT job_type, count(), avg(run_ms) FROM {} "
    "WHERE finished_at >= '2026-11-24 12:00:00' AND finished_at < '2026-11-24 13:00:00' GROUP BY job_type",
    "one_job_ms": "SELECT * FROM {} WHERE job_id = (SELECT job_id FROM job_attempts LIMIT 1 OFFSET 123456)",
    "all_by_host_ms": "SELECT host, count(), quantileDD(0.01, 0.95)(run_ms) FROM {} GROUP BY host",
}


def main() -> None:
    harness = Harness(__doc__)
    jobs, rounds = (100_000, 3) if harness.quick else (1_000_000, 7)
    found: dict[str, dict[str, float]] = {}
    with harness.clickhouse() as url:
        client = connect(url, query_timeout=1800)
        migrate(client, DATABASE, raw_days=20_000, rollup_days=20_000)
        with harness.step("pretending jobs", jobs) as advance:
            history.fill(client, jobs, START, 86_400, advance)
        definition = str(client.query("SHOW CREATE TABLE job_attempts").result_rows[0][0])
        alternatives = {f"key: {name}": with_key(definition, key) for name, key in KEYS.items()}
        alternatives |= {f"codec: {name}": with_codecs(definition, codecs) for name, codecs in CODECS.items()}
        with harness.step("alternatives", len(alternatives)) as advance:
            for number, (name, text) in enumerate(alternatives.items()):
                found[name] = measure(client, f"alternative_{number}", text, rounds)
                advance(1)
        events = sizes(client, "job_events")
        client.command(f"DROP DATABASE {DATABASE} SYNC")
    for name, figures in found.items():
        harness.say(f"{name:<52}" + "".join(f" {value:>9.2f}" for value in figures.values()))
    harness.finish(
        {"job_events_bytes_per_row": events, "columns": list(found["codec: as chosen"]), "alternatives": found}
    )


def with_key(definition: str, key: str) -> str:
    return re.sub(r"ORDER BY \(.*?\)\n", f"ORDER BY {key}\n", definition)


def with_codecs(definition: str, codecs: dict[str, str]) -> str:
    """The definition with other codecs, for every column or only for times, floats or strings."""
    lines = []
    for line in definition.splitlines():
        text = line
        column = re.match(r"    (`\w+` )(.*?)( CODEC\(.*\))?( COMMENT '.*')?(,?)$", line)
        if column:
            name, kind, _, _, comma = column.groups()
            group = "time" if "DateTime" in kind else "float" if "Float64" in kind else "string"
            if "all" in codecs:
                text = f"    {name}{kind} {codecs['all']}{comma}"
            elif group == "string" and "string" in codecs and kind == "LowCardinality(String)":
                text = f"    {name}{codecs['string']}{comma}"
            elif group != "string" and group in codecs:
                text = f"    {name}{kind} {codecs[group]}{comma}"
        lines.append(text)
    return "\n".join(lines)


def measure(client: Client, table: str, definition: str, rounds: int) -> dict[str, float]:
    client.command(re.sub(r"CREATE TABLE \S+", f"CREATE TABLE {table}", definition, count=1))
    began = time.perf_counter()
    client.command(f"INSERT INTO {table} SELECT * FROM job_attempts")
    took = time.perf_counter() - began
    client.command(f"OPTIMIZE TABLE {table} FINAL")
    figures = {"bytes_per_row": sizes(client, table), "insert_s": round(took, 2)}
    for name, question in QUESTIONS.items():
        figures[name] = min(asked(client, question.format(table)) for _ in range(rounds))
    client.command(f"DROP TABLE {table} SYNC")
    return figures


def asked(client: Client, question: str) -> float:
    began = time.perf_counter()
    client.query(question)
    return round((time.perf_counter() - began) * 1000, 2)


def sizes(client: Client, table: str) -> float:
    rows = client.query(
        "SELECT sum(bytes_on_disk), sum(rows) FROM system.parts "
        "WHERE database = currentDatabase() AND table = {table:String} AND active",
        parameters={"table": table},
    ).result_rows[0]
    return round(int(rows[0]) / int(rows[1]), 2)


if __name__ == "__main__":
    main()
