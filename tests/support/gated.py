"""Handlers whose jobs do not end before a test lets them, in worker processes that may die meanwhile."""

import asyncio
import time
from pathlib import Path

from millstream import JobContext, job


@job("sleeps")
async def sleeps(payload: dict[str, float]) -> None:
    await asyncio.sleep(payload["seconds"])


@job("waits-for-file")
def waits_for_file(payload: dict[str, str], context: JobContext) -> None:
    while not Path(payload["path"]).exists() and not context.cancelled:
        time.sleep(0.05)
