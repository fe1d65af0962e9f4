"""What the tracker and ClickHouse make of the events."""

from clickhouse_connect.driver.client import Client

from tests.support.guarantees import History
from tests.support.rollups import counts
from tests.support.running_tracker import RunningTracker
from tests.support.waiting import eventually


def assert_derived(history: History, tracker: RunningTracker, clickhouse: Client) -> dict[str, int]:
    """Wait until tracker and tables have caught up with a history of jobs that all succeeded, and fail unless every
    count is right. Returns the figures to report."""
    jobs, events = len(history.accepted), len(history.events)
    eventually(tracker.finished, lambda finished: finished == jobs)
    found = eventually(
        lambda: counts(clickhouse),
        # The views have the rows a moment after the table.
        lambda rows: rows["raw"] >= events and min(rows["attempts"], rows["latency"]) >= jobs,
    )
    told = tracker.json("/counts")
    assert (told["states"], told["unreadable"]) == ({"succeeded": jobs}, 0)
    assert found["raw"] == found["distinct"] == events
    assert found["outcomes"] == found["attempts"] == found["latency"] == jobs
    return {"tracked": sum(told["states"].values()), "inserted": found["raw"]}
