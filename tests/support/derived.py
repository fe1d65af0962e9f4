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


def assert_rows_of(history: History, clickhouse: Client) -> None:
    """Wait until each event of a history is a row, and fail unless each is exactly one, of its own kind, and its
    tenants have no other rows."""
    expected = {event.event_id: event.kind.value for event in history.events}
    tenants = sorted({event.tenant for event in history.events})

    def rows() -> list[tuple[str, str]]:
        found = clickhouse.query(
            "SELECT toString(event_id), toString(kind) FROM job_events WHERE tenant IN {tenants:Array(String)}",
            parameters={"tenants": tenants},
        )
        return [(str(event_id), str(kind)) for event_id, kind in found.result_rows]

    found = eventually(rows, lambda rows: len(rows) >= len(expected), within_s=300, every_s=1)
    assert len(found) == len(expected)
    assert dict(found) == expected
