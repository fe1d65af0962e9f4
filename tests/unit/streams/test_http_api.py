"""A tracker answers for the partitions that it owns, and only while it owns them for sure."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from millstream.schemas.ids import new_id
from millstream.streams.http_api import add_http_api

JOB = new_id()


class App:
    """Faust's application as far as the API needs it. A forwarded request is answered with 299."""

    def __init__(self) -> None:
        self.rebalancing = False
        self.pages: dict[str, Callable[..., Any]] = {}
        self.router = self

    def page(self, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda view: self.pages.setdefault(path, view)

    async def route_req(self, *_: Any) -> tuple[int, Any]:
        return 299, "the owner's answer"


class Tracker(SimpleNamespace):
    """A tracker that has the state of one job in memory."""

    def __init__(self) -> None:
        super().__init__(recovered=True, newer_event="", owned=True)

    def owns(self, job_id: str) -> bool:
        return bool(self.owned)

    def state(self, job_id: str) -> Any:
        return SimpleNamespace(model_dump=lambda mode: {"state": "running"}) if job_id == JOB else None


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def tracker(app: App) -> Tracker:
    tracker = Tracker()
    add_http_api(cast(Any, app), SimpleNamespace(name="states"), cast(Any, tracker))
    return tracker


async def get(app: App, path: str, **parameters: str) -> tuple[int, Any]:
    view = SimpleNamespace(json=lambda value, status=200: (status, json.loads(json.dumps(value))), web=None)
    answer: tuple[int, Any] = await app.pages[path](view, None, **parameters)
    return answer


async def test_a_state_in_memory_is_no_answer_during_a_rebalance_or_before_the_recovery(
    app: App, tracker: Tracker
) -> None:
    assert await get(app, "/jobs/{job_id}", job_id=JOB) == (200, {"state": "running"})
    app.rebalancing = True
    assert (await get(app, "/jobs/{job_id}", job_id=JOB))[0] == 503
    app.rebalancing, tracker.recovered = False, False
    assert (await get(app, "/jobs/{job_id}", job_id=JOB))[0] == 503


async def test_a_job_of_another_tracker_is_answered_by_its_owner_whatever_is_in_memory(
    app: App, tracker: Tracker
) -> None:
    tracker.owned = False
    assert (await get(app, "/jobs/{job_id}", job_id=JOB))[0] == 299


async def test_health_says_that_an_event_of_a_newer_release_has_stopped_the_tracker(app: App, tracker: Tracker) -> None:
    assert await get(app, "/health") == (200, {"ready": True})
    tracker.newer_event = "events[3] 17: schema id 9"
    assert await get(app, "/health") == (503, {"ready": False, "event_of_newer_release": tracker.newer_event})
    assert (await get(app, "/jobs/{job_id}", job_id=JOB))[0] == 200
