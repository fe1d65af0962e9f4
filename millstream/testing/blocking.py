"""Calling a coroutine from a plain function, whether an event loop runs or not."""

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


def blocking(run: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, on an event loop of its own: in this thread, or in another one where a loop runs."""
    if not _loop_is_running():
        return asyncio.run(run)
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(asyncio.run(run))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=partial(contextvars.copy_context().run, work), name="millstream-test-loop")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
