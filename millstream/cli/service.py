"""What every long-running service does before it starts: logging, and a stop on SIGTERM and ctrl-C."""

import signal
from collections.abc import Callable

from millstream.settings import Settings
from millstream.telemetry import configure_logging


def log_as(settings: Settings, service: str) -> None:
    """Configure logging; every line carries the field `service`."""
    configure_logging(settings.log_format, settings.log_level, service=service)


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at each SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
