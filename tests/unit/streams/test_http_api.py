"""A tracker answers for the partitions that it owns, only while it owns them for sure, and only to whom it may."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from millstream.listening import HttpGuard
from millstream.schemas import State
from millstream.schemas.ids import new_id
from millstream.streams.http_api import FORWARDED, IDLE_S, HttpApi, IdleConnections, NoOwner
from millstream.streams.lag import Behind

JOB = new_id()
SETTINGS = ("tracker.host", "tracker.token", "")


class Tracker(SimpleNamespace):
    """A tracker that has the state of one job in memory."""

    def __init__(self) -> None:
        super().__init__(recovered=True, newer_event="", owned=True, by_state={}, jobs=1, events=3, shows="running")
        for counter in ("duplicate_outcomes", "reused_attempts", "unreadable", "rejected", "offset_resets"):
            setattr(self, counter, 0)

    def owns(self, job_id: str) -> bool:
        return bool(self.owned)

    def state(self, job_id: str) -> Any:
        return SimpleNamespace(model_dump=lambda mode: {"state": self.shows}) if job_id == JOB else None


class Answers:
    """An `HttpApi` on a port, and what it is told."""

    def __init__(self, token: str = "", host: str = "127.0.0.1") -> None:
        self.tracker, self.ready, self.owner = Tracker(), True, cast(str | Exception | None, None)
        self.behind: Behind | None = Behind(0, 0.0)
        self.api = HttpApi(
            HttpGuard(host, token, settings=SETTINGS),
            cast(Any, self.tracker),
            is_ready=lambda: self.ready,
            owner=lambda _: self._owner(),
            behind=lambda: self.behind,
            session=lambda: self.session,
        )
        self.client = TestClient(TestServer(self.api.app))

    async def start(self) -> "Answers":
        await self.client.start_server()
        self.session = aiohttp.ClientSession()
        return self

    async def stop(self) -> None:
        await self.session.close()
        await self.client.close()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        answer = await self.client.get(path, headers=headers)
        return answer.status, await answer.json()

    def _owner(self) -> str | None:
        if isinstance(self.owner, Exception):
            raise self.owner
        return self.owner


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    started = await Answers().start()
    yield started
    await started.stop()


@pytest.fixture
async def guarded() -> AsyncIterator[Answers]:
    started = await Answers("s3cret").start()
    yield started
    await started.stop()


async def test_a_state_in_memory_is_no_answer_during_a_rebalance_or_before_the_recovery(answers: Answers) -> None:
    assert await answers.get(f"/jobs/{JOB}") == (200, {"state": "running"})
    answers.ready = False
    assert (await answers.get(f"/jobs/{JOB}"))[0] == 503


async def test_a_job_of_another_tracker_is_answered_by_its_owner_whatever_is_in_memory(answers: Answers) -> None:
    other = await Answers().start()
    other.tracker.shows = "succeeded"
    answers.tracker.owned, answers.owner = False, str(other.client.make_url("")).rstrip("/")
    assert await answers.get(f"/jobs/{JOB}") == (200, {"state": "succeeded"})
    await other.stop()
    assert (await answers.get(f"/jobs/{JOB}"))[0] == 503, "the owner does not respond"


async def test_a_forwarded_request_carries_the_token_and_is_not_forwarded_again(guarded: Answers) -> None:
    other = await Answers("s3cret").start()
    guarded.tracker.owned, guarded.owner = False, str(other.client.make_url("")).rstrip("/")
    token = "Bearer s3cret"
    assert await guarded.get(f"/jobs/{JOB}", Authorization=token) == (200, {"state": "running"})
    other.tracker.owned, other.owner = False, str(guarded.client.make_url("")).rstrip("/")
    assert (await guarded.get(f"/jobs/{JOB}", Authorization=token))[0] == 503
    assert (await guarded.get(f"/jobs/{JOB}", Authorization=token, **{FORWARDED: "1"}))[0] == 503
    await other.stop()


async def test_a_job_whose_partition_nobody_owns_is_not_unknown(answers: Answers) -> None:
    answers.tracker.owned, answers.owner = False, NoOwner()
    assert (await answers.get(f"/jobs/{JOB}"))[0] == 503


async def test_health_names_an_event_of_a_newer_release_that_a_newer_tracker_must_read(answers: Answers) -> None:
    level = {"records_behind": 0, "seconds_behind": 0.0}
    assert await answers.get("/health") == (200, {"ready": True, **level})
    answers.tracker.newer_event = "events[3] 17: schema id 9"
    needed = {"ready": True, "event_of_newer_release": answers.tracker.newer_event, **level}
    assert await answers.get("/health") == (200, needed)
    assert (await answers.get(f"/jobs/{JOB}"))[0] == 200


async def test_without_the_token_nothing_is_told_but_whether_the_tracker_is_ready(guarded: Answers) -> None:
    for path in (f"/jobs/{JOB}", "/counts", "/", "/router/", "/nothing"):
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer "},
        ):
            status, body = await guarded.get(path, **headers)
            assert (status, list(body)) == (401, ["error"])
    assert (await guarded.get("/health"))[0] == 200
    assert (await guarded.get("/counts", Authorization="Bearer s3cret"))[0] == 200


async def test_no_web_page_asks_a_tracker_on_loopback(answers: Answers) -> None:
    for headers in (
        {"Host": "rebound.example.org"},
        {"Host": "rebound.example.org:6066"},
        {"Host": "127.0.0.1.example.org"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
    ):
        for path in (f"/jobs/{JOB}", "/counts", "/health"):
            assert (await answers.get(path, **headers))[0] == 403, headers
    for headers in ({}, {"Host": "localhost:6066"}, {"Host": "[::1]:6066"}, {"Origin": "http://127.0.0.1:3000"}):
        assert (await answers.get("/counts", **headers))[0] == 200, headers


async def test_it_says_how_far_behind_it_is_with_each_answer_that_may_be_old(answers: Answers) -> None:
    answers.behind = Behind(1_234, 56.7)
    lag = {"records_behind": 1_234, "seconds_behind": 56.7}
    for path in ("/health", "/counts"):
        assert lag.items() <= (await answers.get(path))[1].items()
    known = await answers.client.get(f"/jobs/{JOB}")
    assert (known.headers["Millstream-Records-Behind"], known.headers["Millstream-Seconds-Behind"]) == ("1234", "56.7")
    status, body = await answers.get(f"/jobs/{new_id()}")
    assert status == 404 and "behind the events by 1,234 records (56.7 s)" in body["error"]
    answers.behind = Behind(0, 0.0)
    assert "evicted" in (await answers.get(f"/jobs/{new_id()}"))[1]["error"]


async def test_any_path_and_a_failure_are_an_answer_in_json(answers: Answers) -> None:
    for path in ("/", "/router/", "/router/millstream.jobs.states/", "/table/", "/graph/", "/stats/", "/jobs/%00%ff"):
        status, body = await answers.get(path)
        assert status in (400, 404) and "error" in body, path
    assert (await answers.client.post("/counts")).status == 405

    def fail() -> Behind:
        raise RuntimeError("tenant-of-somebody")

    answers.api._behind = fail
    status, body = await answers.get("/counts")
    assert status == 500 and "tenant-of-somebody" not in json.dumps(body)


async def test_three_hundred_half_open_requests_stop_nobody_and_are_closed() -> None:
    answers = Answers()
    runner = web.AppRunner(answers.api.app, access_log=None)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    await web.SockSite(runner, listening).start()
    address, now = listening.getsockname(), [0.0]
    idle, opened = IdleConnections(lambda: now[0]), []
    for _ in range(300):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /counts HTTP/1.1\r\nHost: localhost\r\n")
        await writer.drain()
        opened.append((reader, writer))
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{address[1]}/counts") as answer:
        assert answer.status == 200
    server = cast(Any, runner.server)
    idle.close(list(server.connections))
    now[0] = IDLE_S - 1
    idle.close(list(server.connections))
    assert len(server.connections) >= 300, "they may be slow"
    now[0] = IDLE_S
    idle.close(list(server.connections))
    for reader, writer in opened:
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    await runner.cleanup()


async def test_prometheus_reads_what_counts_and_health_say(answers: Answers) -> None:
    answers.tracker.by_state = {State.RUNNING: 2, State.SUCCEEDED: 5}
    answers.tracker.duplicate_outcomes, answers.behind = 1, Behind(7, 1.5)
    found = await samples(answers)
    assert found["millstream_tracker_jobs", "running"] == 2 and found["millstream_tracker_jobs", "succeeded"] == 5
    assert found["millstream_tracker_events_total", ""] == 3
    assert found["millstream_tracker_duplicate_outcomes_total", ""] == 1
    assert found["millstream_tracker_records_behind", ""] == 7 and found["millstream_tracker_seconds_behind", ""] == 1.5
    assert found["millstream_tracker_ready", ""] == 1
    answers.ready = False
    found = await samples(answers)
    assert found["millstream_tracker_ready", ""] == 0
    assert ("millstream_tracker_records_behind", "") not in found, "what is not known is no sample"


async def test_the_metrics_need_the_token_as_everything_but_the_health_does() -> None:
    answers = await Answers(token="secret").start()
    try:
        assert (await answers.client.get("/metrics")).status == 401
        assert (await answers.client.get("/metrics", headers={"Authorization": "Bearer secret"})).status == 200
    finally:
        await answers.stop()


async def samples(answers: Answers) -> dict[tuple[str, str], float]:
    """What a parser of Prometheus reads, by name and state."""
    answer = await answers.client.get("/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(await answer.text())
    return {(each.name, each.labels.get("state", "")): each.value for family in families for each in family.samples}
