"""The tracker's HTTP API."""

import asyncio
import re
from typing import Any

import aiohttp
import faust
from faust.web import Request, Response, View

from millstream.streams.tracker import Tracker

_JOB_ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

FORWARD_TIMEOUT_S = 5.0
"""How long another tracker may take to respond, in seconds."""


def add_http_api(app: faust.App, table: Any, tracker: Tracker) -> None:
    """`GET /jobs/{id}`, `GET /counts` and `GET /health`."""

    def ready() -> bool:
        return tracker.recovered and not app.rebalancing

    @app.page("/jobs/{job_id}")
    async def job(view: View, request: Request, job_id: str) -> Response:
        """The state of a job, from the tracker that owns it: 404 when none has it, 400 when it is not a job id."""
        if not _JOB_ID.match(job_id):
            return view.json({"error": f"{job_id!r} is not a job id (a UUID in lower case)"}, status=400)
        # First, because during a rebalance another tracker may already write the states that are in memory here.
        if not ready():
            return view.json({"error": "the tracker is recovering its states; try again in a moment"}, status=503)
        state = tracker.state(job_id) if tracker.owns(job_id) else None
        if state is not None:
            return view.json(state.model_dump(mode="json"))
        try:
            # Another tracker may own the partition of this job; then its response is returned.
            async with asyncio.timeout(FORWARD_TIMEOUT_S):
                return await app.router.route_req(table.name, job_id.encode(), view.web, request)
        except (aiohttp.ClientError, TimeoutError) as error:
            return view.json({"error": f"the tracker that owns this job does not respond: {error!r}"}, status=503)
        except faust.exceptions.SameNode:
            return view.json(
                {"error": f"no state of job {job_id}; it may have been evicted after the retention"}, status=404
            )

    @app.page("/counts")
    async def counts(view: View, request: Request) -> Response:
        """How many states this tracker holds, and how many events it has read."""
        return view.json(
            {
                "states": {state.value: count for state, count in tracker.by_state.items() if count},
                "jobs": tracker.jobs,
                "events": tracker.events,
                "duplicate_outcomes": tracker.duplicate_outcomes,
                "reused_attempts": tracker.reused_attempts,
                "unreadable": tracker.unreadable,
                "offset_resets": tracker.offset_resets,
            }
        )

    @app.page("/health")
    async def health(view: View, request: Request) -> Response:
        """200 once the table is recovered; 503 before, and when an event of a newer release has stopped the tracker."""
        if tracker.newer_event:
            return view.json({"ready": False, "event_of_newer_release": tracker.newer_event}, status=503)
        return view.json({"ready": ready()}, status=200 if ready() else 503)
