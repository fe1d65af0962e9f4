"""What the tracker answers over HTTP."""

import asyncio
import re
from typing import Any

import aiohttp
import faust
from faust.web import Request, Response, View

from millstream.streams.tracker import Tracker

_JOB_ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

FORWARD_S = 5.0
"""How long another tracker may take to answer."""


def add_views(app: faust.App, table: Any, tracker: Tracker) -> None:
    """`GET /jobs/{id}`, `GET /counts` and `GET /health`."""

    def ready() -> bool:
        return tracker.recovered and not app.rebalancing

    @app.page("/jobs/{job_id}")
    async def job(view: View, request: Request, job_id: str) -> Response:
        """The state of a job, wherever it is kept: 404 when no tracker knows it, 400 when it is no job id."""
        if not _JOB_ID.match(job_id):
            return view.json({"error": f"{job_id!r} is not a job id (a UUID in lower case)"}, status=400)
        state = tracker.state(job_id)
        if state is not None:
            return view.json(state.model_dump(mode="json"))
        if not ready():
            return view.json({"error": "the tracker is reading its states; ask again in a moment"}, status=503)
        try:
            # Another tracker may own the partition of this job; then its answer is ours.
            async with asyncio.timeout(FORWARD_S):
                return await app.router.route_req(table.name, job_id.encode(), view.web, request)
        except (aiohttp.ClientError, TimeoutError) as error:
            return view.json({"error": f"the tracker that keeps this job does not answer: {error!r}"}, status=503)
        except faust.exceptions.SameNode:
            return view.json({"error": f"no job {job_id} is known; it may be older than the retention"}, status=404)

    @app.page("/counts")
    async def counts(view: View, request: Request) -> Response:
        """What this tracker holds and has read."""
        return view.json(
            {
                "states": {state.value: count for state, count in tracker.by_state.items() if count},
                "jobs": tracker.jobs,
                "events": tracker.events,
                "doubled_outcomes": tracker.doubled_outcomes,
                "unreadable": tracker.unreadable,
            }
        )

    @app.page("/health")
    async def health(view: View, request: Request) -> Response:
        """200 once the table is recovered, 503 before."""
        return view.json({"ready": ready()}, status=200 if ready() else 503)
