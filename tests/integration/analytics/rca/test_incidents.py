"""Incidents are found in what ClickHouse's rollups hold, recorded once, and closed when they are over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.detection.incidents import UnknownIncident, find_incidents, incident, incidents, record
from millstream.analytics.rca.window import Window
from tests.support.job_history import Attempt, History

TODAY = datetime(2026, 11, 24, tzinfo=UTC)
HISTORY = timedelta(days=2)
OTHER = Attempt(TODAY, tenant="globex", job_type="emails.send", lane="high", run_ms=10)
BEGIN, END = TODAY + timedelta(hours=10), TODAY + timedelta(hours=11)


def day_with_a_failing_hour(end: datetime) -> History:
    """Two days and today up to `end`; from 10:00 to 11:00 most jobs of acme fail."""
    past = History()
    acme = Attempt(TODAY)
    past.steady(TODAY - HISTORY, end, 1, OTHER, 0.01)
    past.steady(TODAY - HISTORY, min(BEGIN, end), 1, acme, 0.01)
    past.steady(BEGIN, min(END, end), 2, acme, 0.7)
    if end > END:
        past.steady(END, end, 1, acme, 0.01)
    return past


def test_an_hour_of_failures_is_one_incident_of_all_jobs_seen_in_tenant_and_type(clickhouse: Client) -> None:
    day_with_a_failing_hour(TODAY + timedelta(hours=14)).write(clickhouse)
    found = find_incidents(clickhouse, Window(TODAY, TODAY + timedelta(hours=14)))
    failing = next(each for each in found if each.metric == "failure_rate")
    assert (failing.scope, failing.kind) == ("all jobs", "burst")
    assert abs(failing.started_at - BEGIN) <= timedelta(minutes=10)
    assert failing.ended_at is not None and abs(failing.ended_at - END) <= timedelta(minutes=10)
    assert {"tenant=acme", "job_type=reports.render", "lane=default"} <= set(failing.seen_in)
    assert failing.expected < 0.05
    assert failing.observed > 0.3
    assert failing.excess == pytest.approx(84, rel=0.25)
    assert [each.metric for each in found if each.metric != "submissions"] == ["failure_rate"]


def test_an_incident_is_recorded_once_and_closed_by_a_later_detection(clickhouse: Client) -> None:
    now = BEGIN + timedelta(minutes=40)
    past = day_with_a_failing_hour(now)
    past.write(clickhouse)
    span = Window(TODAY, now)
    open_ = [each for each in find_incidents(clickhouse, span) if each.metric == "failure_rate"]
    record(clickhouse, open_)
    assert [each.ended_at for each in incidents(clickhouse, TODAY, now)] == [None]
    past.steady(now, END, 2, Attempt(TODAY), 0.7)
    past.steady(END, END + timedelta(hours=2), 1, Attempt(TODAY), 0.01)
    past.steady(now, END + timedelta(hours=2), 1, OTHER, 0.01)
    past.write(clickhouse)
    later = find_incidents(clickhouse, Window(TODAY, END + timedelta(hours=2)))
    record(clickhouse, [each for each in later if each.metric == "failure_rate"])
    (closed,) = incidents(clickhouse, TODAY, END + timedelta(hours=2))
    assert closed.incident_id == open_[0].incident_id
    assert closed.ended_at is not None and abs(closed.ended_at - END) <= timedelta(minutes=10)
    assert incident(clickhouse, closed.incident_id) == closed


def test_when_nothing_starts_it_is_a_stall(clickhouse: Client) -> None:
    past = History()
    noon = TODAY + timedelta(hours=12)
    past.steady(TODAY - HISTORY, noon, 3, replace(OTHER, run_ms=50))
    # What is submitted from noon on waits until one.
    past.steady(noon, noon + timedelta(hours=1), 3, replace(OTHER, wait_ms=3_600_000))
    past.write(clickhouse)
    found = find_incidents(clickhouse, Window(TODAY, noon + timedelta(minutes=30)))
    stall = next(each for each in found if each.metric == "starts")
    assert (stall.kind, stall.scope, stall.ended_at) == ("stall", "all jobs", None)
    assert abs(stall.started_at - noon) <= timedelta(minutes=10)


def test_an_unknown_incident_is_named_with_what_there_is(clickhouse: Client) -> None:
    with pytest.raises(UnknownIncident, match="'nonsense'; the last ones: none is recorded"):
        incident(clickhouse, "nonsense")


def test_a_step_that_does_not_divide_the_day_is_refused(clickhouse: Client) -> None:
    with pytest.raises(ValueError, match="divides the day"):
        find_incidents(clickhouse, Window(TODAY, TODAY + HISTORY), step=timedelta(minutes=7))
