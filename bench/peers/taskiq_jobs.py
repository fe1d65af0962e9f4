"""Shared by the two taskiq systems: the jobs, and how they are submitted."""

import asyncio
import sys
from typing import Any

from taskiq import AsyncBroker

from peers.tally import tally


class Jobs:
    """The jobs of one broker and the ways to submit them."""

    def __init__(self, broker: AsyncBroker) -> None:
        self._broker = broker
        self._started = False
        self._tasks = {"noop": broker.register_task(noop, "noop"), "nap": broker.register_task(nap, "nap")}

    async def submit(self, job: str, payload: dict[str, Any]) -> None:
        await self._start()
        await self._tasks[job].kiq(payload)

    async def submit_many(self, job: str, payloads: list[dict[str, Any]]) -> None:
        await self._start()
        task = self._tasks[job]
        for first in range(0, len(payloads), 500):
            await asyncio.gather(*(task.kiq(payload) for payload in payloads[first : first + 500]))

    async def shutdown(self) -> None:
        await self._broker.shutdown()

    async def _start(self) -> None:
        if not self._started:
            await self._broker.startup()
            self._started = True


async def noop(payload: dict[str, Any]) -> None:
    tally.count()


async def nap(payload: dict[str, Any]) -> None:
    if payload["at"] is not None:
        tally.waited(payload["at"])
    await asyncio.sleep(payload["seconds"])
    tally.count()


def worker_command(module: str, processes: int, concurrency: int) -> list[str]:
    limit = ["--max-async-tasks", str(concurrency)] if concurrency else []
    command = [sys.executable, "-m", "taskiq", "worker", f"{module}:broker", "--workers", str(processes)]
    return [*command, "--log-level", "WARNING", *limit]
