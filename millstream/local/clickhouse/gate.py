"""What is refused before a request is read: web pages, foreign host names, addresses and headers that are too long."""

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LONGEST_ADDRESS = 128 * 1024
"""Bytes of a request's path and query."""

LONGEST_HEADERS = 128 * 1024
"""Bytes of all headers of a request."""

_OWN_PAGES = {"none", "same-origin"}
_ANY_ADDRESS = {"0.0.0.0", "::"}


class Gate:
    """An ASGI application that lets requests pass to another one.

    `host`: the address it listens on. `names`: further names that clients may use for it. A browser sends Origin or
    Sec-Fetch-Site with what a page of another site requests, and the page's own host name with a request to a name that
    resolves to this address (DNS rebinding), so neither kind of page reaches the application.
    """

    def __init__(self, application: ASGIApp, host: str, names: Iterable[str] = ()) -> None:
        self._application = application
        self._any_address = host in _ANY_ADDRESS
        self._names = {"localhost", host.lower(), *(each.lower() for each in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, 414 or 431, or pass the request on."""
        if scope["type"] != "http":
            return
        status, why = self._refusal(scope)
        if status:
            await PlainTextResponse(f"{why}\n", status, {"Connection": "close"})(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return 414, f"the address is longer than {LONGEST_ADDRESS:,} bytes; send the query as the body"
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
            return 431, f"the headers are longer than {LONGEST_HEADERS:,} bytes"
        headers = Headers(scope=scope)
        if not self.known(headers.get("host", "localhost")):
            return 403, f"this server is not called {headers['host']!r}; --allow-host adds a name"
        if "origin" in headers and headers["origin"] != f"{scope['scheme']}://{headers.get('host')}":
            return 403, "web pages may not send requests to this server"
        if headers.get("sec-fetch-site", "none") not in _OWN_PAGES:
            return 403, "web pages may not send requests to this server"
        return 0, ""

    def known(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this server."""
        name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        name = name.lower().rstrip(".")
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address is no name that somebody else could make resolve to this one.
        return address.is_loopback or self._any_address
