"""The function that gives Kafka's clients their tokens, for SASL's mechanism OAUTHBEARER."""

import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module

TokenFunction = Callable[[str], tuple[str, float]]
"""Takes the property `sasl.oauthbearer.config`, empty without one, and returns a token and when it expires, in seconds
since 1970: an `oauth_cb` of confluent-kafka. May be called from any thread, and from several at once."""


class InvalidTokenFunction(ValueError):
    """`kafka.oauth_token` names no function; the text says why."""


@cache
def token_function(path: str) -> TokenFunction:
    """The function `package.module:function`. Raises `InvalidTokenFunction`."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise InvalidTokenFunction(f"kafka.oauth_token = {path!r} is not package.module:function")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:
        raise InvalidTokenFunction(f"kafka.oauth_token = {path!r}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise InvalidTokenFunction(f"kafka.oauth_token = {path!r} is no function")
    function: TokenFunction = found
    return function


def same_modules() -> dict[str, str]:
    """The environment in which another Python process finds the modules that this one finds, and so the function."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
