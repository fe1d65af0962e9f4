"""The loop watchdog: late while the loop's thread is blocked, and not because no check ran."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from millstream.consumers.worker.execution import loop_watchdog as module
from millstream.consumers.worker.execution.loop_watchdog import LoopWatchdog
from millstream.consumers.worker.execution.metering import metered
from millstream.consumers.worker.execution.started_work import StartedWork
from tests.support.waiting import until


class Consumer:
    cpu_ns = 0
    started: StartedWork | None = None


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.call_soon_threadsafe(made.stop)
    time.sleep(0.01)


@pytest.fixture
def watchdog(loop: asyncio.AbstractEventLoop) -> LoopWatchdog:
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    made = LoopWatchdog(loop, thread)
    thread.start()
    loop.call_soon_threadsafe(made.tick)
    return made


def test_a_loop_that_runs_is_not_late(watchdog: LoopWatchdog) -> None:
    for _ in range(10):
        time.sleep(0.03)
        assert watchdog.late_s() < 0.2


def test_a_blocked_loop_is_late_and_the_coroutine_that_blocks_it_is_identified(
    loop: asyncio.AbstractEventLoop, watchdog: LoopWatchdog
) -> None:
    consumer = Consumer()

    async def blocks() -> None:
        time.sleep(0.6)  # noqa: ASYNC251

    async def run() -> None:
        await metered(consumer, blocks(), lambda: None)

    asyncio.run_coroutine_threadsafe(run(), loop)
    until(lambda: watchdog.late_s() > 0.2)
    found, stack = watchdog.blocking_coroutine()
    assert found is consumer and "time.sleep(0.6)" in stack
    until(lambda: watchdog.late_s() == 0)
    assert watchdog.blocking_coroutine()[0] is None


def test_a_pause_of_the_checking_thread_is_not_the_loops(
    loop: asyncio.AbstractEventLoop, watchdog: LoopWatchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNCHECKED_S", 0.1)
    watchdog.late_s()
    loop.call_soon_threadsafe(time.sleep, 0.3)
    time.sleep(0.25)
    assert watchdog.late_s() < 0.1
