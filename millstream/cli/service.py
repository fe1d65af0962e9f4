"""What every long-running service does before it starts: logging, and a stop on SIGTERM and ctrl-C."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

import structlog

from millstream.settings import Settings
from millstream.telemetry import configure_logging

log = structlog.get_logger(__name__)

ONE_STOP_S = 2.0
"""Signals that arrive within this time of one that counted are the same request: a service manager signals every
process of a group, and a terminal or a script may repeat itself."""


def log_as(settings: Settings, service: str, current_fields: Callable[[], Mapping[str, object]] | None = None) -> None:
    """Configure logging; every line carries the field `service`, and those that `current_fields` returns."""
    configure_logging(settings.log_format, settings.log_level, settings.redaction, current_fields, service=service)


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at SIGTERM and SIGINT. Those within two seconds of one that counted do not count."""
    counted = once_in(ONE_STOP_S, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: counted())


def end_after(stop: threading.Event, seconds: float, why_safe: str, end: Callable[[int], None] = os._exit) -> None:
    """End the process with code 4 when it is still there so many seconds after `stop` was set: some calls of Kafka's
    client wait for brokers without end. `why_safe`: why that costs nothing, for the log."""

    def watch() -> None:
        stop.wait()
        time.sleep(seconds)
        log.error("stop_timed_out", after_s=seconds, action=f"the process ends; {why_safe}")
        end(4)

    threading.Thread(target=watch, name="millstream-stop", daemon=True).start()


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
