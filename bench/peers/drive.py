"""Runs one system of another project from its own environment.

python -m peers.drive MODULE work PROCESSES CONCURRENCY      run its worker; concurrency 0 means its default
python -m peers.drive MODULE bulk JOB COUNT SECONDS          submit in bulk; `nap` jobs sleep so long
python -m peers.drive MODULE single JOB COUNT SECONDS        submit one after the other
python -m peers.drive MODULE paced PER_SECOND COUNT SECONDS  submit `nap` jobs at a constant rate, each with its time

The last line of output is the duration of submitting, in seconds.
"""

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any


def main() -> None:
    name, task, first, second, *rest = sys.argv[1:]
    system = import_module(f"peers.{name}")
    if task == "work":
        command = system.worker(int(first), int(second))
        os.execvp(command[0], command)
    print(asyncio.run(submitting(system, task, first, int(second), float(rest[0]))))


async def submitting(system: Any, task: str, first: str, count: int, seconds: float) -> float:
    payload = {"at": None, "seconds": seconds}
    # Connections are opened before the time is taken.
    await called(system.submit, "nap" if task == "paced" else first, {**payload, "seconds": 0.0})
    began = time.perf_counter()
    if task == "bulk":
        await called(system.submit_many, first, [payload] * count)
    elif task == "single":
        for _ in range(count):
            await called(system.submit, first, payload)
    else:
        for number in range(count):
            await asyncio.sleep(began + number / float(first) - time.perf_counter())
            await called(system.submit, "nap", {**payload, "at": time.time()})
    took = time.perf_counter() - began
    if shutdown := getattr(system, "shutdown", None):
        await shutdown()
    return took


async def called(function: Callable[..., Any], *arguments: Any) -> None:
    answer = function(*arguments)
    if inspect.isawaitable(answer):
        waiting: Awaitable[Any] = answer
        await waiting


if __name__ == "__main__":
    main()
