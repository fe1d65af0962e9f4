"""`millstream simulate` as it is typed: its scenarios, table, plot, JSON, notes and errors."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner, Result

from millstream.analytics.cost.price_files import Price
from millstream.analytics.simulation import replay
from millstream.cli.app import app
from millstream.cli.failure import Failure
from tests.support.job_history import Attempt, History
from tests.support.price_book import set_prices

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
WINDOW = ["--from", "2026-11-24T12:00:00", "--to", "2026-11-24T13:00:00"]

Run = Callable[..., Result]


@pytest.fixture
def run(clickhouse: Client, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on an hour of the test's database, in which `recording` may have left something."""
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", clickhouse_url)
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__DATABASE", clickhouse.database or "")
    return lambda *arguments: CliRunner().invoke(app, ["simulate", *WINDOW, *arguments])


@pytest.fixture
def recording(clickhouse: Client) -> None:
    """Four workers with two slots each on one machine at 8 an hour, and jobs of two lanes.

    The jobs of `high` are due one a minute for half an hour; they ran without a wait. The 30 of `bulk` came at once and
    ran for a minute each.
    """
    set_prices(clickhouse, [Price(instance_type="m5.large", price_per_hour=8, vcpus=4)])
    heartbeats = [
        [f"worker-{number}", NOON + timedelta(seconds=second), "host-1", "eu-central-1", "m5.large", 2]
        for second in range(3600)
        for number in range(4)
    ]
    names = ["worker_id", "occurred_at", "host", "region", "instance_type", "capacity"]
    clickhouse.insert("worker_heartbeats", heartbeats, names)
    past = History()
    for number in range(30):
        past.add(Attempt(NOON + timedelta(minutes=number), lane="high", wait_ms=0, run_ms=1000))
        past.add(Attempt(NOON, lane="bulk", wait_ms=5_000, run_ms=60_000))
    past.write(clickhouse)


def reported(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def failure(result: Result) -> Failure:
    assert isinstance(result.exception, Failure), result.output
    return result.exception


def test_without_a_scenario_it_is_the_workers_of_the_window_half_and_twice_as_many(run: Run, recording: None) -> None:
    answer = reported(run("--json"))
    assert (answer["recorded_jobs"], answer["replayed_jobs"], answer["notes"]) == (60, 60, [])
    scenarios = [outcome["scenario"] for outcome in answer["outcomes"]]
    assert [each["name"] for each in scenarios] == ["as it was: 4x2", "half: 2x2", "twice: 8x2"]
    assert [(each["workers"], each["concurrency"]) for each in scenarios] == [(4, 2), (2, 2), (8, 2)]
    assert [each["price_per_hour"] for each in scenarios] == pytest.approx([2, 2, 2])
    half, twice = answer["outcomes"][1:]
    assert half["waits"]["p95_s"] > twice["waits"]["p95_s"] > 0
    assert half["utilisation"] > twice["utilisation"]
    assert {lane: waits["jobs"] for lane, waits in half["by_lane"].items()} == {"bulk": 30, "high": 30}
    assert all("waits_s" not in outcome for outcome in answer["outcomes"])


def test_four_workers_on_a_machine_cost_what_the_machine_costs(run: Run, recording: None) -> None:
    (outcome,) = reported(run("--json", "--scenario", "workers=4,concurrency=2"))["outcomes"]
    assert outcome["cost"] == pytest.approx(outcome["lasted_s"] / 3600 * 8)
    (outcome,) = reported(run("--json", "--scenario", "workers=4,concurrency=2,price=0.5"))["outcomes"]
    assert outcome["cost"] == pytest.approx(outcome["lasted_s"] / 3600 * 4 * 0.5)


def test_a_kept_worker_and_an_urgent_lane_spare_high_the_wait(run: Run, recording: None) -> None:
    names = ["workers=2,concurrency=1", "workers=2,concurrency=1,high=1,bulk=1"]
    plain, kept = reported(run("--json", *(part for name in names for part in ("--scenario", name))))["outcomes"]
    (urgent,) = reported(run("--json", "--urgent", "high", "--scenario", names[0]))["outcomes"]
    assert kept["scenario"]["kept"] == {"high": 1, "bulk": 1}
    assert kept["by_lane"]["high"]["max_s"] == pytest.approx(0, abs=1e-6)
    assert urgent["scenario"]["urgency"] == ["high"]
    # A job that runs is not put off, so an urgent one waits for the end of one of `bulk` at most.
    assert plain["by_lane"]["high"]["max_s"] > 120
    assert urgent["by_lane"]["high"]["max_s"] <= 61


def test_the_platforms_own_time_lengthens_every_wait(run: Run, recording: None) -> None:
    (outcome,) = reported(run("--json", "--scenario", "concurrency=100", "--overhead-ms", "250"))["outcomes"]
    assert outcome["waits"]["p50_s"] == outcome["waits"]["max_s"] == pytest.approx(0.25, abs=1e-6)


def test_the_table_has_a_row_for_all_and_for_each_lane_and_the_plot_its_axis(run: Run, recording: None) -> None:
    result = run("--scenario", "workers=1,concurrency=1,price=1")
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0][:2] == ["scenario", "lane"] and lines[0][-1] == "cost"
    assert lines[1][:3] == ["workers=1,concurrency=1,price=1", "all", "60"]
    assert [line[:2] for line in lines[2:4]] == [["bulk", "30"], ["high", "30"]]
    assert "arrival in the window, s; longest wait, s" in result.stdout
    assert "Note" not in result.stdout
    assert "replaying 60 jobs" in result.stderr


def test_a_cost_without_a_price_is_unknown_and_a_note_says_why(run: Run, recording: None, clickhouse: Client) -> None:
    set_prices(clickhouse, [Price(instance_type="other", price_per_hour=1, vcpus=1)])
    answer = reported(run("--json", "--scenario", "workers=4", "--scenario", "workers=4,price=2"))
    assert [outcome["cost"] is None for outcome in answer["outcomes"]] == [True, False]
    (note,) = answer["notes"]
    assert "cost is not known: the price book has no price for machines of type 'm5.large'" in note
    printed = re.sub(r"\s+", " ", run().stdout)
    assert "unknown" in printed and f"Note: {note}" in printed
    assert reported(run("--json", "--scenario", "workers=4,price=2"))["notes"] == []


def test_a_record_that_is_cut_is_reported_on_screen_and_in_the_json(
    run: Run, recording: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MOST_JOBS", 40)
    answer = reported(run("--json"))
    assert (answer["recorded_jobs"], answer["replayed_jobs"]) == (60, 40)
    (note,) = answer["notes"]
    assert note.startswith("only the first 40 of 60 recorded jobs were replayed")
    assert f"Note: {note}" in re.sub(r"\s+", " ", run().stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scenario", "workers=inf"], "workers=inf: 'inf' is not a whole number from 1 to 100000"),
        (["--scenario", "concurrency=3.9"], "concurrency=3.9: '3.9' is not a whole number"),
        (["--scenario", "price=nan"], "price=nan: 'nan' is not a number from 0 on"),
        (["--scenario", "concurency=20"], "did you mean 'concurrency'?"),
        (
            ["--scenario", "workers=4,nowhere=1"],
            "there is no 'nowhere', only workers, concurrency, price and the lanes",
        ),
        (["--scenario", "workers=1,default=1"], "no worker reads lane 'bulk'"),
        (["--urgent", "hihg"], "--urgent hihg: the lanes are high, default, bulk; did you mean 'high'?"),
        (["--overhead-ms", "inf"], "price and overhead are numbers"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    run: Run, recording: None, arguments: list[str], said: str
) -> None:
    found = failure(run(*arguments))
    assert said in str(found)
    assert found.code == 2


def test_a_lane_is_known_by_the_record_or_by_the_settings(run: Run, clickhouse: Client) -> None:
    past = History()
    past.add(Attempt(NOON, lane="special"))
    past.write(clickhouse)
    assert reported(run("--json", "--scenario", "workers=3,price=1,special=1,bulk=1"))["replayed_jobs"] == 1


def test_nothing_recorded_is_a_clear_failure(run: Run, clickhouse: Client) -> None:
    assert "no first attempt ended in the window" in str(failure(run()))
    past = History()
    past.add(Attempt(NOON))
    past.write(clickhouse)
    found = failure(run())
    assert (str(found), found.code) == ("no worker sent a heartbeat in this window", 1)
    (note,) = reported(run("--json", "--scenario", "workers=1"))["notes"]
    assert note.startswith("the cost is not known: no worker sent a heartbeat in this window")
