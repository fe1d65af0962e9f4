"""Handlers that do their worst, for a worker process of its own."""

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
import time

from millstream import JobContext, job


@job("well-behaved")
async def well_behaved(payload: dict[str, float]) -> None:
    await asyncio.sleep(payload.get("seconds", 0.01))


@job("never-returns", timeout_s=1)
def never_returns(payload: dict[str, float], context: JobContext) -> None:
    time.sleep(3600)


@job("holds-the-lock")
def holds_the_lock(payload: dict[str, float]) -> None:
    """Holds the interpreter's lock, as a bad regular expression does."""
    ctypes.PyDLL(None).sleep(int(payload["seconds"]))


@job("eats-memory", runs_on="process", memory_limit_mb=250)
def eats_memory(payload: dict[str, float]) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1024)) * (10 * 1024))
        time.sleep(0.01)


@job("exits")
async def exits(payload: dict[str, float]) -> None:
    os._exit(7)


@job("swallows-its-cancellation", timeout_s=0.5)
async def swallows_its_cancellation(payload: dict[str, float]) -> None:
    until = asyncio.get_running_loop().time() + payload["seconds"]
    while (left_s := until - asyncio.get_running_loop().time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left_s)


@job("leaves-programs-behind", runs_on="process", timeout_s=1)
def leaves_programs_behind(payload: dict[str, float]) -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)


@job("fails-at-length")
async def fails_at_length(payload: dict[str, str]) -> None:
    raise ValueError("\x1b[2J[/red]" + "x" * 1_000_000)
