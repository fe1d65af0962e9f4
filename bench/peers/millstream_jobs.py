"""Millstream's side: the same two jobs, both on the event loop."""

import asyncio
from typing import Any

from millstream import job
from peers.tally import tally


@job("bench.noop")
async def noop(payload: dict[str, Any]) -> None:
    tally.count()


@job("bench.nap")
async def nap(payload: dict[str, Any]) -> None:
    if payload["at"] is not None:
        tally.waited(payload["at"])
    await asyncio.sleep(payload["seconds"])
    tally.count()
