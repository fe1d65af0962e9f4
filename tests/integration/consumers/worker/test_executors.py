"""Executors: what a handler does to its thread or process stays its own."""

import asyncio
import contextlib
import gc
import threading
import time
from itertools import pairwise

import psutil
import pytest
from confluent_kafka import Producer

from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.worker import Worker, WorkerConfig
from millstream.consumers.worker.execution.registry import JobTypes
from millstream.consumers.worker.loop_guard import EventLoopBlocked, LoopGuard, TooManyStuckHandlers
from millstream.consumers.worker.transactions import transactional_id
from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import EventKind, JobEvent, KafkaConnection, TopicCatalogue
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until

MIB = 1024 * 1024


def outcomes(log: EventLog) -> dict[str, JobEvent]:
    ended = (EventKind.SUCCEEDED, EventKind.FAILED, EventKind.TIMED_OUT, EventKind.CANCELLED)
    return {event.job_id: event for event in log.events if event.kind in ended}


def test_a_process_that_dies_fails_its_job_and_nothing_else(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs):
        ids = {kind: client.submit(kind, {"code": 3}) for kind in ("process-exits", "process-killed", "process-raises")}
        ids |= {kind: client.submit(kind, {}) for kind in ("process-hangs", "process-eats-memory", "process")}
        ids["process-async"] = client.submit("process-async", {})
        quick = client.submit_many([NewJob("sleep", {}) for _ in range(50)])
        log.until_finished([*ids.values(), *quick])
    ended = {kind: outcomes(log)[job_id] for kind, job_id in ids.items()}
    assert (ended["process-exits"].kind, ended["process-exits"].error_type) == (EventKind.FAILED, "HandlerCrashed")
    assert "exited with code 3" in ended["process-exits"].error_message
    assert "killed by SIGKILL" in ended["process-killed"].error_message
    assert ended["process-raises"].error_message == "no good"
    assert ended["process-hangs"].kind is EventKind.TIMED_OUT
    assert ended["process-eats-memory"].error_type == "MemoryExceeded"
    assert (ended["process-eats-memory"].max_rss_bytes or 0) > 200 * MIB
    assert ended["process"].kind is ended["process-async"].kind is EventKind.SUCCEEDED
    assert any(event.progress == 0.5 for event in log.events if event.job_id == ids["process"])


def test_a_process_reports_the_peak_memory_of_each_attempt(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, job_processes=1):
        big = client.submit("process", {"megabytes": 100, "seconds": 0.05})
        log.until_finished([big])
        small = client.submit("process", {"megabytes": 1})
        log.until_finished([small])
    peaks = [outcomes(log)[job_id].max_rss_bytes or 0 for job_id in (big, small)]
    assert peaks[0] > peaks[1] + 80 * MIB


def test_a_thread_that_never_returns_costs_its_own_place_and_no_other(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, threads=2):
        stuck = client.submit_many([NewJob("never-returns", {}) for _ in range(6)])
        others = client.submit_many([NewJob("thread", {"seconds": 0.01}) for _ in range(40)])
        log.until_finished(stuck + others)
    kinds = outcomes(log)
    assert {kinds[job_id].kind for job_id in stuck} == {EventKind.TIMED_OUT}
    assert {kinds[job_id].kind for job_id in others} == {EventKind.SUCCEEDED}


def test_a_coroutine_that_blocks_the_loop_ends_its_worker_and_after_two_deaths_runs_apart(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    config = WorkerConfig(worker_id="w1", group=f"{topics.prefix}workers", blocked_loop_s=1.5)
    blocks = client.submit("blocks", {"seconds": 6}, max_attempts=1)
    for _ in range(2):
        worker = Worker(KafkaConnection(kafka.bootstrap), topics, config, jobs)
        with pytest.raises(EventLoopBlocked, match=f"job {blocks} of type 'blocks'"):
            worker.run()
        assert worker.status.loop_blocked.is_set()
    with RunningWorker(kafka.bootstrap, topics, jobs):
        others = client.submit_many([NewJob("sleep", {}) for _ in range(10)])
        log.until_finished([blocks, *others])
    assert outcomes(log)[blocks].kind is EventKind.TIMED_OUT
    assert "its process was killed" in outcomes(log)[blocks].error_message


def test_a_handler_that_falls_silent_is_ended_and_one_that_beats_is_not(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs):
        alive = [client.submit(kind, {"seconds": 1.5}) for kind in ("heartbeats", "process-heartbeats")]
        silent = [client.submit(kind, {"seconds": 0.1, "code": 600}) for kind in ("heartbeats", "process-heartbeats")]
        log.until_finished([*alive, *silent])
    assert {outcomes(log)[job_id].kind for job_id in alive} == {EventKind.SUCCEEDED}
    assert all(outcomes(log)[job_id].error_message.startswith("no heartbeat for 0.5 s") for job_id in silent)


def test_jobs_of_one_ordering_key_run_one_after_the_other_in_order(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    keys = ("red", "green")
    batch = [NewJob("sleep", {"seconds": 0.01}, ordering_key=keys[n % 2]) for n in range(60)]
    with RunningWorker(kafka.bootstrap, topics, jobs):
        ids = client.submit_many(batch)
        log.until_finished(ids)
    for remainder in (0, 1):
        mine = [outcomes(log)[job_id] for job_id in ids[remainder::2]]
        starts = [event.started_at for event in mine if event.started_at]
        assert len(starts) == len(mine)
        assert starts == sorted(starts)
        assert all(a.occurred_at <= b.started_at for a, b in pairwise(mine) if b.started_at)


def test_a_quick_kind_of_handler_does_not_wait_behind_a_slow_one(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, threads=1, job_processes=1):
        client.submit_many([NewJob("thread", {"seconds": 3}), NewJob("process", {"seconds": 3})])
        client.submit_many([NewJob("thread", {"seconds": 3}), NewJob("process", {"seconds": 3})])
        quick = client.submit_many([NewJob("sleep", {}) for _ in range(100)])
        begun = time.monotonic()
        log.until_finished(quick)
        assert not set(log.finished) - set(quick) or time.monotonic() - begun > 3


def test_what_handlers_keep_outlives_a_session_and_nothing_of_the_session_is_left(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, loops = psutil.Process(), set[int]()
    cancelled: list[int] = []
    own = JobTypes()

    @own.job("notes-its-loop")
    async def notes_its_loop() -> None:
        loops.add(id(asyncio.get_running_loop()))

    @own.job("waits-first")
    async def waits_first() -> None:
        try:
            await asyncio.sleep(0 if cancelled else 600)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    lost, check = threading.Event(), LoopGuard.check

    def check_or_lose(guard: LoopGuard) -> None:
        if lost.is_set():
            lost.clear()
            raise ProducerLost("as the test wants it")
        check(guard)

    monkeypatch.setattr(LoopGuard, "check", check_or_lose)

    def start_over(running: RunningWorker) -> tuple[int, int]:
        """Have the worker start over; its descriptors and threads afterwards."""
        before = running.worker.status.restarts
        lost.set()
        until(lambda: running.worker.status.restarts > before)
        log.until_finished([client.submit("notes-its-loop", None)])
        return process.num_fds(), process.num_threads()

    gc.disable()  # a worker process collects rarely
    try:
        with RunningWorker(kafka.bootstrap, topics, own) as running:
            waiting = client.submit("waits-first", None)
            until(lambda: running.worker.status.load is not None and running.worker.status.load.running == 1)
            fds, threads = start_over(running)
            log.until_finished([waiting])
            assert cancelled == [1], "its session cancelled it, the next one ran it again"
            for _ in range(3):
                more_fds, more_threads = start_over(running)
    finally:
        gc.enable()
    assert len(loops) == 1
    assert more_fds - fds < 6 and more_threads - threads < 6


def test_a_producer_that_is_fenced_again_and_again_ends_nothing_that_runs_and_leaves_nothing_behind(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    process, loops = psutil.Process(), set[int]()
    goes_on = threading.Event()
    own = JobTypes()

    @own.job("notes-its-loop")
    async def notes_its_loop() -> None:
        loops.add(id(asyncio.get_running_loop()))

    @own.job("waits")
    async def waits() -> None:
        while not goes_on.is_set():  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.05)

    def fence_and_run() -> tuple[int, int]:
        """Have the worker lose its producer; its descriptors and threads afterwards."""
        settings = KafkaConnection(kafka.bootstrap).producer(transactional_id=transactional_id(topics, "w1"))
        Producer(settings).init_transactions(10)
        log.until_finished([client.submit("notes-its-loop", None)])
        return process.num_fds(), process.num_threads()

    gc.disable()  # a worker process collects rarely
    try:
        with RunningWorker(kafka.bootstrap, topics, own) as running:
            waiting = client.submit("waits", None)
            until(lambda: len(running.worker.status.load.running_now() if running.worker.status.load else ()) == 1)
            fds, threads = fence_and_run()
            for _ in range(3):
                more_fds, more_threads = fence_and_run()
            goes_on.set()
            log.until_finished([waiting])
    finally:
        gc.enable()
    assert log.started[waiting] == 1, "what ran went on"
    assert len(loops) == 1
    assert more_fds - fds < 6 and more_threads - threads < 6


def test_handlers_that_cannot_be_stopped_end_the_worker_once_they_are_too_many(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    own, released = JobTypes(), threading.Event()

    @own.job("never-stops", timeout_s=0.1)
    async def never_stops() -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    config = WorkerConfig(worker_id="w1", group=f"{topics.prefix}workers", max_stuck_handlers=3)
    worker = Worker(KafkaConnection(kafka.bootstrap), topics, config, own)
    ids = client.submit_many([NewJob("never-stops") for _ in range(4)])
    with pytest.raises(TooManyStuckHandlers, match="4 of them of job type 'never-stops'"):
        worker.run()
    released.set()
    log.until_finished(ids)
    assert {outcomes(log)[job_id].kind for job_id in ids} == {EventKind.TIMED_OUT}


def test_a_handler_that_a_process_would_not_find_is_refused() -> None:
    def local() -> None: ...

    async def coroutine() -> None: ...

    with pytest.raises(ValueError, match="top level of a module"):
        JobTypes().job("a", runs_on="process")(local)
    with pytest.raises(ValueError, match="is async"):
        JobTypes().job("a", runs_on="thread")(coroutine)
    with pytest.raises(ValueError, match="memory_limit_mb needs"):
        JobTypes().job("a", memory_limit_mb=5)(local)
