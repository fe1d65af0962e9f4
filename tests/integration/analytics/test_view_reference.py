"""Every view is what its file, docs/views.md and the Grafana dashboard say it is, on a pretended hour of work."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import connect
from millstream.analytics.agreement import disagreements
from millstream.analytics.catalogue import View, views
from millstream.analytics.dashboard import PANELS, Panel, asked, dashboard
from millstream.analytics.reference import START, column_types, prepare, reference, whole

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def history(clickhouse_url: str) -> Iterator[Client]:
    database = f"t{uuid.uuid4().hex[:8]}"
    client = connect(clickhouse_url, database=database)
    prepare(client, database)
    yield client
    client.command(f"DROP DATABASE {database} SYNC")


def test_the_page_is_the_one_that_the_views_make(history: Client) -> None:
    page = (ROOT / "docs" / "views.md").read_text("utf-8")
    assert page.splitlines() == reference(history).splitlines(), "run `make docs`"


@pytest.mark.parametrize("view", views(), ids=lambda view: view.name)
def test_a_view_has_the_columns_that_it_describes_and_its_example_has_an_answer(history: Client, view: View) -> None:
    assert list(column_types(history, view)) == [column.name for column in view.columns]
    assert history.query(view.example).result_rows, view.example


CHOICES = {
    "arrivals_and_completions": ["", "lane", "tenant", "job_type"],
    "failure_rate": ["", "lane", "tenant", "job_type"],
    "latency_percentiles": ["", "lane", "tenant", "job_type"],
    "slo_burn_rate": ["", "lane", "tenant", "job_type"],
    "cost": ["", "tenant", "job_type", "lane", "team", "day", "instance_type", "region", "outcome"],
    "latency_by_dimension": ["", "tenant", "host", "worker_version", "outcome", "error_type", "team"],
}


SPLIT = [view for view in views() if "by" in view.parameters and "dimension" in view.columns_named]


@pytest.mark.parametrize("view", SPLIT, ids=lambda view: view.name)
def test_every_dimension_that_a_view_names_splits_the_same_whole(history: Client, view: View) -> None:
    counted = "jobs" if view.name == "slo_burn_rate" else "attempts" if "attempts" in view.columns_named else "finished"
    wholes = set()
    for choice in CHOICES[view.name]:
        call = re.sub(r"by='\w*'", f"by='{choice}'", whole(view))
        total, dimensions = history.query(f"SELECT sum({counted}), uniqExact(dimension) FROM {call}").result_rows[0]
        wholes.add(total)
        assert (dimensions > 1) == (choice not in ("", "day")), choice
    assert len(wholes) == 1
    assert all(f"'{choice}'" in view.parameter_text for choice in CHOICES[view.name] if choice not in ("", "team"))


def test_every_rollup_of_the_pretended_history_agrees_with_its_events(history: Client) -> None:
    assert disagreements(history) == []


def test_the_dashboard_file_is_the_one_that_the_panels_make() -> None:
    file = ROOT / "deploy" / "grafana" / "millstream.json"
    assert json.loads(file.read_text("utf-8")) == dashboard(), "run `make docs`"


def test_every_view_that_is_for_people_has_a_panel() -> None:
    assert {view.name for view in views() if not view.is_part} == {panel.view for panel in PANELS}
    ids = [panel["id"] for panel in dashboard()["panels"]] + [p["id"] for p in dashboard()["panels"][-1]["panels"]]
    assert len(ids) == len(set(ids)) == len(PANELS) + 1


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_can_be_asked_and_a_time_series_begins_with_its_time(history: Client, panel: Panel) -> None:
    begin = int(START.timestamp() * 1000)
    answer = history.query(asked(panel, begin, begin + int(timedelta(hours=1) / timedelta(milliseconds=1)), 60_000))
    assert "$" not in asked(panel, 0, 1)
    if panel.kind == "timeseries":
        assert answer.column_names[0] == "time"
        assert str(answer.column_types[0].name).startswith("DateTime")
    if "${job}" not in panel.sql:
        assert answer.result_rows
