"""Handlers that misbehave, at the top of a module so that a child process finds them."""

import asyncio
import os
import time

from pydantic import BaseModel

from millstream.consumers.worker import JobContext, JobTypes

jobs = JobTypes()


class Given(BaseModel):
    seconds: float = 0.0
    megabytes: int = 0
    code: int = 0


@jobs.job("sleep")
async def sleep(given: Given) -> None:
    await asyncio.sleep(given.seconds)


@jobs.job("blocks", timeout_s=0.5)
async def blocks(given: Given) -> None:
    time.sleep(given.seconds)  # noqa: ASYNC251


@jobs.job("thread")
def sleep_in_thread(given: Given, context: JobContext) -> None:
    deadline = time.monotonic() + given.seconds
    while time.monotonic() < deadline and not context.cancelled:
        time.sleep(0.01)


@jobs.job("never-returns", timeout_s=0.3)
def never_returns(given: Given) -> None:
    time.sleep(3600)


@jobs.job("process", runs_on="process")
def in_process(given: Given, context: JobContext) -> None:
    context.progress(0.5, "half way")
    held = bytearray(os.urandom(1024)) * (1024 * given.megabytes)
    time.sleep(given.seconds)
    del held


@jobs.job("process-async", runs_on="process")
async def in_process_async(given: Given) -> None:
    await asyncio.sleep(given.seconds)


@jobs.job("process-raises", runs_on="process")
def raises(given: Given) -> None:
    raise ValueError("no good")


@jobs.job("process-exits", runs_on="process")
def exits(given: Given) -> None:
    os._exit(given.code)


@jobs.job("process-killed", runs_on="process")
def killed(given: Given) -> None:
    os.kill(os.getpid(), 9)


@jobs.job("process-hangs", runs_on="process", timeout_s=0.5)
def hangs(given: Given) -> None:
    while True:
        pass


@jobs.job("process-eats-memory", runs_on="process", memory_limit_mb=200)
def eats_memory(given: Given) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1024)) * (10 * 1024))
        time.sleep(0.01)


async def heartbeat(given: Given, context: JobContext) -> None:
    """HeartbeatSender for `seconds`, then falls silent."""
    deadline = time.monotonic() + given.seconds
    while time.monotonic() < deadline:
        context.heartbeat()
        await asyncio.sleep(0.05)
    await asyncio.sleep(given.code)


jobs.job("heartbeats", heartbeat_s=0.5)(heartbeat)
jobs.job("process-heartbeats", heartbeat_s=0.5, runs_on="process")(heartbeat)
