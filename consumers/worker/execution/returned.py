"""What a handler's call returns, when that still has to be run.

A decorator that knows nothing of coroutines makes a plain function of an `async def`, so what a handler is shows only
when it returns.
"""

from collections.abc import AsyncGenerator, Awaitable, Generator
from inspect import isawaitable
from typing import TypeVar

T = TypeVar("T")


class GeneratorReturned(TypeError):
    """The handler returned a generator, of which nothing has run."""


def still_to_run(returned: object) -> Awaitable[object] | None:
    """What has to be awaited before the handler has ended; None when nothing has to.

    Raises `GeneratorReturned` for a generator, which nothing would read.
    """
    if isawaitable(returned):
        return returned
    if isinstance(returned, (Generator, AsyncGenerator)):
        text = f"the handler returned a {type(returned).__name__}, of which nothing has run; read it in the handler"
        raise GeneratorReturned(text)
    return None


async def awaited(value: Awaitable[T]) -> T:
    """A coroutine of any awaitable."""
    return await value
