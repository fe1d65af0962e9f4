"""Where a small HTTP server of a service listens and whom it answers: what tracker, worker and sink share.

What a service tells about its tenants is for whoever has its token. On a loopback address every program of the machine
may ask without one, but no web page: a browser says in `Origin` which page asks, and in `Host` which name it looked up,
which an attacker's own name server may have pointed at this machine.
"""

import hmac
import ipaddress
import os
import socket
from collections.abc import Container, Iterable, Mapping
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_STATUSES = {401: "401 Unauthorized", 403: "403 Forbidden"}


class UnprotectedListener(ValueError):
    """A server would tell everybody who reaches it what is not meant for them. The text says what to set."""


class PortTaken(RuntimeError):
    """An address cannot be listened on. The text names its settings and the address, and says why."""

    def __init__(self, settings: tuple[str, str], host: str, port: int, error: OSError) -> None:
        # The text of the error itself repeats the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(f"{', '.join(settings)}: {host}:{port}: {reason}")


def require_port(settings: tuple[str, str], host: str, port: int) -> None:
    """Raise `PortTaken` when a service could not listen there now; port 0 is always good."""
    if not port:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a connection in TIME_WAIT does not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise PortTaken(settings, host, port, error) from error


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only. Of names `localhost` is; what another name
    means is somebody else's decision."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class HttpGuard:
    """Decides about requests. Immutable, so thread-safe.

    `host`: the address that is listened on. `token`: what a request must carry as `Authorization: Bearer TOKEN`; empty
    for none. `is_open`: whether it is said explicitly that everybody who reaches the address may ask. `settings`: names
    of the settings of address, token and openness (empty: there is none), for the error.
    Raises `UnprotectedListener` when neither token nor `is_open` protects an address beyond loopback.
    """

    def __init__(self, host: str, token: str, *, is_open: bool = False, settings: tuple[str, str, str]) -> None:
        self._loopback = is_loopback(host)
        self._expected = f"Bearer {token}".encode() if token else b""
        if not self._loopback and not token and not is_open:
            host_setting, token_setting, open_setting = settings
            ways = f"set {token_setting}" + (f", or {open_setting} = true if that is meant," if open_setting else "")
            raise UnprotectedListener(
                f"{host_setting} = {host!r} is reached from other machines, and whoever asks there is told about every "
                f"tenant: {ways} or listen on 127.0.0.1"
            )

    def refusal(self, headers: Mapping[str, str], *, is_probe: bool = False) -> tuple[int, str] | None:
        """Status and reason with which a request is refused; None when it may be answered. `headers` by name, in any
        case of letters that the caller's mapping accepts. `is_probe`: the answer says nothing about tenants, so no
        token is needed."""
        # A browser always sends Host.
        if self._loopback and not _is_local_name(headers.get("Host", "localhost")):
            return 403, "the header Host names another machine"
        if self._loopback and "Origin" in headers and not _is_local_name(urlsplit(headers["Origin"]).netloc):
            return 403, "a web page may not ask"
        if self._expected and not is_probe:
            given = headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):
                return 401, "a token is needed: Authorization: Bearer TOKEN"
        return None


def guarded(pages: WSGIApplication, guard: HttpGuard, probes: Container[str] = ()) -> WSGIApplication:
    """A WSGI application that answers what the guard lets through. `probes`: paths that need no token."""

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        sent = {"Host": "HTTP_HOST", "Origin": "HTTP_ORIGIN", "Authorization": "HTTP_AUTHORIZATION"}
        headers = {name: environ[key] for name, key in sent.items() if key in environ}
        refused = guard.refusal(headers, is_probe=environ.get("PATH_INFO", "") in probes)
        if refused is None:
            return pages(environ, start)
        status, reason = refused
        ask = [("WWW-Authenticate", "Bearer")] if status == 401 else []
        start(_STATUSES[status], [("Content-Type", "text/plain; charset=utf-8"), *ask])
        return [f"{reason}\n".encode()]

    return answer


def _is_local_name(netloc: str) -> bool:
    """Whether `host:port` names this machine."""
    try:
        host = urlsplit(f"//{netloc}").hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
