"""What every long-running service does before it starts: logging, and a stop on SIGTERM and ctrl-C."""

import signal
import socket
import time
from collections.abc import Callable, Mapping

from millstream.cli.failure import Failure
from millstream.setting_names import variable_of
from millstream.settings import Settings
from millstream.telemetry import configure_logging

ONE_STOP_S = 2.0
"""Signals that arrive within this time of one that counted are the same request: a service manager signals every
process of a group, and a terminal or a script may repeat itself."""


def log_as(settings: Settings, service: str, current_fields: Callable[[], Mapping[str, object]] | None = None) -> None:
    """Configure logging; every line carries the field `service`, and those that `current_fields` returns."""
    configure_logging(settings.log_format, settings.log_level, settings.redaction, current_fields, service=service)


def require_port(setting: str, host: str, port: int) -> None:
    """Raise `Failure` when a service could not listen on the port of a setting now; port 0 is always good."""
    if not port:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a connection in TIME_WAIT does not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Failure(
            f"{setting}: cannot listen on {host}:{port}: {error.strerror or error}",
            f"choose another port with {variable_of(setting)}",
            code=2,
        ) from error


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at SIGTERM and SIGINT. Those within two seconds of one that counted do not count."""
    counted = once_in(ONE_STOP_S, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: counted())


def once_in(
    seconds: float, call: Callable[[], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """A function that calls `call`, unless it did so less than `seconds` ago."""
    called_at = float("-inf")

    def limited() -> None:
        nonlocal called_at
        now = clock()
        if now - called_at >= seconds:
            called_at = now
            call()

    return limited
