"""Every view agrees with its file, docs/views.md and the Grafana dashboard, on a synthetic hour of jobs."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import connect
from millstream.analytics.warehouse.catalogue import View, views
from millstream.analytics.warehouse.dashboard import dashboard
from millstream.analytics.warehouse.panels import PANELS, VARIABLES, Panel, rendered_sql
from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.analytics.warehouse.view_docs import START, column_types, prepare, reference, whole
from tests.support.paths import ROOT

SYNTHETIC_JOB = "01a20d0c-1b28-71f2-a41c-99fb55726003"
"""A job of the synthetic history, used by the examples; the first value in the dashboard is no job."""


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


@pytest.mark.parametrize("view", [each for each in views() if each.name.startswith("rca_")], ids=lambda view: view.name)
def test_every_column_of_a_root_cause_view_has_a_meaning_of_its_own(view: View) -> None:
    assert [column.name for column in view.columns if not column.meaning] == []


CHOICES = {
    "arrivals_and_completions": ["", "lane", "tenant", "job_type"],
    "failure_rate": ["", "lane", "tenant", "job_type"],
    "latency_percentiles": ["", "lane", "tenant", "job_type"],
    "slo_burn_rate": ["", "lane", "tenant", "job_type"],
    "cost": ["", "tenant", "job_type", "lane", "team", "day", "instance_type", "region", "outcome"],
    "latency_by_dimension": ["", "tenant", "host", "worker_version", "outcome", "error_type", "team"],
    "rca_busy": ["", "lane", "tenant", "job_type", "worker"],
    "rca_load": ["lane", "tenant", "job_type", "partition", "worker"],
    "rca_metrics": ["", "tenant", "job_type", "lane", "host", "worker_id", "worker_version", "region", "instance_type",
                    "outcome", "error_type", "team"],
}  # fmt: skip

WHOLE = {"slo_burn_rate": "sum(jobs)", "rca_busy": "round(sum(mean), 6)", "rca_load": "sum(starts)"}
"""What is the same for every choice, where it is not the number of attempts or of finished ones."""


@pytest.mark.parametrize("view", [view for view in views() if "by" in view.parameters], ids=lambda view: view.name)
def test_every_dimension_that_a_view_names_splits_the_same_whole(history: Client, view: View) -> None:
    counted = "sum(attempts)" if "attempts" in view.columns_named else "sum(finished)"
    split = "dimension" if "dimension" in view.columns_named else "value"
    wholes = set()
    for choice in CHOICES[view.name]:
        call = re.sub(r"by='\w*'", f"by='{choice}'", whole(view))
        asked_for = f"SELECT {WHOLE.get(view.name, counted)}, uniqExact({split}) FROM {call}"
        total, dimensions = history.query(asked_for).result_rows[0]
        wholes.add(total)
        assert (dimensions > 1) == (choice not in ("", "day")), choice
    assert len(wholes) == 1
    assert all(f"'{choice}'" in view.parameter_text for choice in CHOICES[view.name] if choice not in ("", "team"))


def test_every_rollup_of_the_synthetic_history_agrees_with_its_events(history: Client) -> None:
    assert disagreements(history) == []


def test_the_dashboard_file_is_the_one_that_the_panels_make() -> None:
    file = ROOT / "deploy" / "grafana" / "millstream.json"
    assert json.loads(file.read_text("utf-8")) == dashboard(), "run `make docs`"


def test_every_view_that_is_for_people_has_a_panel() -> None:
    assert {view.name for view in views() if not view.is_part} == {panel.view for panel in PANELS}
    ids = [panel["id"] for panel in dashboard()["panels"]] + [p["id"] for p in dashboard()["panels"][-1]["panels"]]
    assert len(ids) == len(set(ids)) == len(PANELS) + 1


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_runs_and_a_time_series_starts_with_its_time(history: Client, panel: Panel) -> None:
    begin = int(START.timestamp() * 1000)
    sql = rendered_sql(panel, begin, begin + int(timedelta(hours=1) / timedelta(milliseconds=1)), 60_000)
    answer = history.query(sql.replace(VARIABLES["job"], SYNTHETIC_JOB))
    assert "$" not in rendered_sql(panel, 0, 1)
    if panel.kind == "timeseries":
        assert answer.column_names[0] == "time"
        assert str(answer.column_types[0].name).startswith("DateTime")
    assert answer.result_rows


def test_cost_a_minute_has_a_point_for_each_minute_with_work(history: Client) -> None:
    (panel,) = [each for each in PANELS if each.title == "Cost a minute"]
    begin = int(START.timestamp() * 1000)
    times = {row[0] for row in history.query(rendered_sql(panel, begin, begin + 3_600_000)).result_rows}
    assert len(times) > 30


@pytest.mark.parametrize("panel", [each for each in PANELS if each.unit == "ms"], ids=lambda panel: panel.title)
def test_a_panel_in_milliseconds_gives_other_numbers_no_such_unit(history: Client, panel: Panel) -> None:
    begin = int(START.timestamp() * 1000)
    answer = history.query(rendered_sql(panel, begin, begin + 3_600_000))
    numbers = {
        name
        for name, kind in zip(answer.column_names, answer.column_types, strict=True)
        if "Int" in kind.name and not name.endswith("_ms")
    }
    placed = {each["title"]: each for each in [*dashboard()["panels"], *dashboard()["panels"][-1]["panels"]]}
    overrides = placed[panel.title]["fieldConfig"]["overrides"]
    assert {each["matcher"]["options"] for each in overrides if each["properties"][0]["value"] == "short"} == numbers
