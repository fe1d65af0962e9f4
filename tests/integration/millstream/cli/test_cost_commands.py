"""`prices`, `budgets`, `cost export` and `sql` as commands: what they print, write and refuse."""

import csv
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from pyarrow import parquet

from millstream.local.broker import Broker
from millstream.schemas import Alert, TopicCatalogue
from tests.support.eventlog import TopicReader

NOW = datetime.now(UTC)
BOOK = "instance_type,purchase_option,price_per_hour,vcpus\ndefault,,1,1\nbox,,2,1\nbox,spot,0.5,1\n"

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(clickhouse: Client, clickhouse_url: str, tmp_path: Path) -> Run:
    """Runs a command in an empty folder, on this test's own database."""

    def millstream(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[bytes]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
        ours = {
            "MILLSTREAM_CLICKHOUSE__URL": clickhouse_url,
            "MILLSTREAM_CLICKHOUSE__DATABASE": str(clickhouse.database),
        }
        done = subprocess.run(
            [sys.executable, "-m", "millstream", *arguments],
            cwd=tmp_path,
            env=plain | ours | variables,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        assert b"Traceback" not in done.stderr
        return done

    return millstream


def spend(client: Client, hours: float, instance_type: str = "box") -> None:
    """An attempt of acme that has just ended."""
    row = {"job_id": str(uuid.uuid4()), "attempt": 1, "tenant": "acme", "job_type": "reports.render", "lane": "default",
           "outcome": "succeeded", "final": True, "submitted_at": NOW, "finished_at": NOW, "run_ms": hours * 3_600_000,
           "instance_type": instance_type, "region": "here", "total_ms": 1.0}  # fmt: skip
    client.insert("job_attempts", [list(row.values())], list(row))


def test_prices_are_loaded_whole_or_refused_with_the_place_and_listed_as_they_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(BOOK)
    assert b"3 prices loaded" in run("prices", "load", "prices.csv", "--replace").stdout
    listed = json.loads(run("prices", "list", "--json").stdout)
    assert [(row["instance_type"], row["purchase_option"], row["price_per_hour"]) for row in listed] == [
        ("box", "on_demand", 2),
        ("box", "spot", 0.5),
        ("default", "on_demand", 1),
    ]
    assert b"spot" in run("prices", "list").stdout
    (tmp_path / "euros.csv").write_text("instance_type,price_per_hour,vcpus,currency\nbox,1,1,EUR\n")
    assert b"several currencies" in run("prices", "load", "euros.csv", code=2).stderr
    (tmp_path / "latin.csv").write_bytes("instance_type,price_per_hour,vcpus\ngro\u00df,1,1\n".encode("latin-1"))
    assert b"latin.csv: not UTF-8" in run("prices", "load", "latin.csv", code=2).stderr
    (tmp_path / "only.csv").write_text("instance_type,price_per_hour,vcpus\nbox,1,1\n")
    refused = run("prices", "load", "only.csv", "--replace", code=2).stderr
    assert b"no price of the instance type" in refused and b"nothing was loaded" in refused
    assert b"No such file" in run("prices", "load", "none.csv", code=2).stderr
    assert json.loads(run("prices", "list", "--json").stdout) == listed


def test_spent_budgets_get_one_alert_and_costs_they_do_not_include_are_reported(
    run: Run, clickhouse: Client, kafka: Broker, topics: TopicCatalogue, tmp_path: Path
) -> None:
    (tmp_path / "budgets.yaml").write_text("budgets:\n  - {tenant: acme, monthly_cost: 10}\n")
    (tmp_path / "euros.yaml").write_text("budgets:\n  - {tenant: acme, monthly_cost: 10, currency: EUR}\n")
    assert b"the budget of acme is in EUR" in run("budgets", "load", "euros.yaml", code=2).stderr
    assert b"1 budgets loaded" in run("budgets", "load", "budgets.yaml").stdout
    assert b"nothing new" in run("budgets", "check").stdout
    (tmp_path / "prices.csv").write_text(BOOK)
    run("prices", "load", "prices.csv", "--replace")
    spend(clickhouse, 6)
    kafka_of_ours = {"MILLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap, "MILLSTREAM_TOPICS__PREFIX": topics.prefix}
    done = run("budgets", "check", "--send", "--json", code=1, **kafka_of_ours)
    (alert,) = json.loads(done.stdout)
    assert alert["subject"] == "acme" and "12.00 of 10.00 USD" in alert["summary"]
    reader = TopicReader(kafka.bootstrap, topics.alerts)
    reader.until(lambda: bool(reader.values))
    assert [reported.model_dump(mode="json") for reported in reader.decoded(Alert)] == [alert]
    reader.close()
    clickhouse.command("TRUNCATE TABLE price_book")
    clickhouse.insert("price_book", [["another", 1.0, 1.0]], ["instance_type", "price_per_hour", "vcpus"])
    assert b"6.00 vCPU hours of this month have no price" in run("budgets", "check").stderr


def test_charges_are_exported_with_the_columns_of_focus_as_csv_and_parquet(
    run: Run, clickhouse: Client, tmp_path: Path
) -> None:
    (tmp_path / "prices.csv").write_text(BOOK)
    run("prices", "load", "prices.csv", "--replace")
    spend(clickhouse, 6)
    spend(clickhouse, 2, "box/spot")
    days = ["--from", f"{NOW:%Y-%m-%d}", "--to", f"{NOW + timedelta(days=1):%Y-%m-%d}"]
    rows = list(csv.DictReader(io.StringIO(run("cost", "export", *days).stdout.decode())))
    charged = {row["PricingCategory"]: float(row["BilledCost"]) for row in rows}
    assert charged == {"Standard": pytest.approx(12), "Dynamic": pytest.approx(1)}
    assert rows[0]["ChargePeriodStart"] == f"{NOW:%Y-%m-%dT00:00:00Z}"
    assert rows[0]["InvoiceId"] == ""
    table = parquet.read_table(io.BytesIO(run("cost", "export", *days, "--format", "parquet").stdout))
    assert table.column_names == list(rows[0])
    assert sum(table["BilledCost"].to_pylist()) == pytest.approx(13)
    assert b"one of csv, parquet" in run("cost", "export", *days, "--format", "xml", code=2).stderr
    backwards = ["--from", "2026-11-02", "--to", "2026-11-01"]
    assert b"exchange --from and --to" in run("cost", "export", *backwards, code=2).stderr


def test_an_answer_is_printed_or_written_as_csv_or_parquet(run: Run, tmp_path: Path) -> None:
    query = "SELECT number AS n, concat('a,', toString(number)) AS text FROM numbers(3)"
    answer = [{"n": number, "text": f"a,{number}"} for number in range(3)]
    printed = run("sql", "--format", "csv", query).stdout.decode()
    assert list(csv.DictReader(io.StringIO(printed))) == [{**row, "n": str(row["n"])} for row in answer]
    # A file has no columns to align: without a format it is CSV.
    run("sql", "--output", "out.csv", query)
    assert (tmp_path / "out.csv").read_text() == printed
    assert parquet.read_table(io.BytesIO(run("sql", "--format", "parquet", query).stdout)).num_rows == 3
    run("sql", "--format", "parquet", "-o", "out.parquet", query)
    assert [row["n"] for row in parquet.read_table(tmp_path / "out.parquet").to_pylist()] == [0, 1, 2]
    assert b"--output" in run("sql", "-o", "no/such/folder/out.csv", query, code=2).stderr
    assert b"one of table, csv" in run("sql", "--format", "xml", query, code=2).stderr


def test_brackets_in_names_and_values_are_printed_as_they_are(run: Run) -> None:
    printed = run("sql", "SELECT '[/x]', '[bold]y' AS `[/z]`").stdout.decode()
    assert "'[/x]'" in printed and "[bold]y" in printed and "[/z]" in printed


@pytest.mark.parametrize("url", ["localhost:8123", "http://localhost:812345"])
def test_an_invalid_address_is_an_error_that_names_the_setting(run: Run, url: str) -> None:
    said = run("sql", "SELECT 1", code=2, MILLSTREAM_CLICKHOUSE__URL=url).stderr.decode()
    assert f"clickhouse.url = '{url}'" in said.replace("\n", "")
    assert "MILLSTREAM_CLICKHOUSE__URL" in said
