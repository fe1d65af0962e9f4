"""The tracker's HTTP API."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from millstream.line_rate import LineRate
from millstream.listening import HttpGuard
from millstream.streams.bounds import JOB_ID
from millstream.streams.lag import Behind
from millstream.streams.metrics import metrics_text
from millstream.streams.tracker import Tracker

log = structlog.get_logger(__name__)

FORWARD_TIMEOUT_S = 5.0
"""How long another tracker may take to respond, in seconds."""

IDLE_S = 20.0
"""How long a connection may be open without a complete request, in seconds."""

FORWARDED = "Millstream-Forwarded"
"""Header of a request that one tracker has sent to another, which does not send it on."""

RECORDS_BEHIND, SECONDS_BEHIND = "Millstream-Records-Behind", "Millstream-Seconds-Behind"
"""Headers of each answer about a job: how far behind the events the tracker is that gives it."""

ERROR_LINES_S = 10.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NoOwner(LookupError):
    """No tracker is known that owns a job's partition."""


class HttpApi:
    """`GET /jobs/{id}`, `GET /counts`, `GET /health` and `GET /metrics`.

    `is_ready`: whether what is in memory may be told. `owner`: the address of the tracker that owns a job, None for
    this one; raises `NoOwner`. `behind`: see `Lag.measure`. `session`: what requests to other trackers are sent with.
    """

    def __init__(
        self,
        guard: HttpGuard,
        tracker: Tracker,
        *,
        is_ready: Callable[[], bool],
        owner: Callable[[str], str | None],
        behind: Callable[[], Behind | None],
        session: Callable[[], aiohttp.ClientSession],
    ) -> None:
        self._guard = guard
        self._tracker = tracker
        self._is_ready = is_ready
        self._owner = owner
        self._behind = behind
        self._session = session
        self._lines = LineRate(ERROR_LINES_S)
        self.app = web.Application(middlewares=[self._answer])
        self.app.add_routes(
            [
                web.get("/jobs/{job_id}", self._job),
                web.get("/counts", self._counts),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
            ]
        )

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse what the guard refuses; an error of ours is an answer without details."""
        refused = self._guard.refusal(request.headers, is_probe=request.path == "/health")
        if refused:
            status, reason = refused
            return _json({"error": reason}, status, {"WWW-Authenticate": "Bearer"} if status == 401 else {})
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _json(
                {"error": f"{error.reason}; there are /jobs/JOB_ID, /counts, /health and /metrics"}, error.status
            )
        except Exception:
            if self._lines.admit("request_failed") is not None:
                log.exception("request_failed")
            return _json({"error": "internal error; the tracker's log has it"}, 500)

    async def _job(self, request: web.Request) -> web.StreamResponse:
        """The state of a job, from the tracker that owns it: 404 when none has it, 400 when it is not a job id."""
        job_id = request.match_info["job_id"]
        if not JOB_ID.fullmatch(job_id):
            return _json({"error": f"{job_id[:100]!r} is not a job id (a UUID in lower case)"}, 400)
        # First, because during a rebalance another tracker may already write the states that are in memory here.
        if not self._is_ready():
            return _json({"error": "the tracker is recovering its states; try again in a moment"}, 503)
        if self._tracker.owns(job_id):
            return self._state(job_id)
        try:
            owner = self._owner(job_id)
        except NoOwner:
            return _json({"error": "no tracker owns this job's partition; try again in a moment"}, 503)
        if owner is None:
            return self._state(job_id)
        if FORWARDED in request.headers:
            return _json({"error": "the trackers do not agree on who owns this job; try again in a moment"}, 503)
        return await self._forward(owner, job_id, request.headers.get("Authorization"))

    def _state(self, job_id: str) -> web.Response:
        behind, state = self._behind(), self._tracker.state(job_id)
        headers = {} if behind is None else {RECORDS_BEHIND: str(behind.records), SECONDS_BEHIND: str(behind.seconds)}
        if state is not None:
            return _json(state.model_dump(mode="json"), 200, headers)
        reason = "it may have been evicted after the retention"
        if behind is None or behind.records:
            by = "" if behind is None else f" by {behind.records:,} records ({behind.seconds:,.1f} s)"
            reason = f"the tracker is behind the events{by} and may not have read of it yet"
        return _json({"error": f"no state of job {job_id}; {reason}"}, 404, headers)

    async def _forward(self, owner: str, job_id: str, authorization: str | None) -> web.Response:
        headers = {FORWARDED: "1"} | ({"Authorization": authorization} if authorization else {})
        try:
            async with (
                asyncio.timeout(FORWARD_TIMEOUT_S),
                self._session().get(f"{owner}/jobs/{job_id}", headers=headers, allow_redirects=False) as response,
            ):
                kept = {
                    name: response.headers[name]
                    for name in (RECORDS_BEHIND, SECONDS_BEHIND)
                    if name in response.headers
                }
                return web.Response(
                    body=await response.read(), status=response.status, content_type="application/json", headers=kept
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            return _json({"error": f"the tracker that owns this job does not respond: {error!r}"}, 503)

    async def _counts(self, _: web.Request) -> web.StreamResponse:
        """How many states this tracker holds, and how many events it has read."""
        tracker = self._tracker
        return _json(
            {
                "states": {state.value: count for state, count in tracker.by_state.items() if count},
                "jobs": tracker.jobs,
                "events": tracker.events,
                "duplicate_outcomes": tracker.duplicate_outcomes,
                "reused_attempts": tracker.reused_attempts,
                "unreadable": tracker.unreadable,
                "rejected": tracker.rejected,
                "offset_resets": tracker.offset_resets,
                **self._lag(),
            }
        )

    async def _health(self, _: web.Request) -> web.StreamResponse:
        """200 once the table is recovered, 503 before."""
        ready, newer = self._is_ready(), self._tracker.newer_event
        found = {"ready": ready, **self._lag()} | ({"event_of_newer_release": newer} if newer else {})
        return _json(found, 200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        """The metrics in the text format of Prometheus."""
        ready = self._is_ready()
        text = metrics_text(self._tracker, ready, self._behind() if ready else None)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    def _lag(self) -> dict[str, Any]:
        behind = self._behind() if self._is_ready() else None
        return {
            "records_behind": None if behind is None else behind.records,
            "seconds_behind": None if behind is None else behind.seconds,
        }


class IdleConnections:
    """Closes connections that stay open without a request: each takes a file descriptor of the tracker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._idle_since: dict[int, float] = {}

    def close(self, connections: list[Any]) -> None:
        """Close those of these protocols of aiohttp that have been without a request at every look for `IDLE_S`
        seconds."""
        now, idle = self._clock(), {}
        for each in connections:
            if each._current_request is not None:
                continue
            since = self._idle_since.get(id(each), now)
            if now - since >= IDLE_S and each.transport is not None:
                each.transport.close()
            else:
                idle[id(each)] = since
        self._idle_since = idle


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = json.dumps(value, allow_nan=False)
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
