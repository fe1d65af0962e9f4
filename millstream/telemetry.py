"""Log lines: coloured on a terminal, JSON elsewhere."""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from millstream.schemas.connection import LOGGER

INTERVAL_S = 1.0
"""How often a line of one kind is written, of those that Kafka's client writes."""


class ClientLog(logging.Handler):
    """Writes what librdkafka logs as events of ours, at most one a second of each kind, with the number of those left
    out since the last one: while a broker is away each client of a process logs twenty lines a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._written_at: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()
        self._log = structlog.get_logger(LOGGER)
        self._counting = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record or count it."""
        kind, _, message = record.getMessage().partition(" ")
        now = self._clock()
        with self._counting:
            if now - self._written_at.get(kind, float("-inf")) < INTERVAL_S:
                self._left_out[kind] += 1
                return
            self._written_at[kind] = now
            left_out = self._left_out.pop(kind, 0)
        level = min(record.levelno, logging.ERROR)
        self._log.log(level, "kafka_client", kind=kind, message=message, left_out=left_out)


def _add(
    fields: Mapping[str, str], current_fields: Callable[[], Mapping[str, object]] | None
) -> structlog.typing.Processor:
    """Adds what a line does not say itself. Not by context variables: handlers run in contexts of their own."""

    def add(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for name, value in {**fields, **(current_fields() if current_fields else {})}.items():
            line.setdefault(name, value)
        return line

    return add


def configure_logging(
    log_format: str = "auto",
    level: str = "info",
    current_fields: Callable[[], Mapping[str, object]] | None = None,
    **fields: str,
) -> None:
    """Set up structlog and the standard library's logging to write lines to stderr.

    `log_format`: `console`, `json`, or `auto` (console on a terminal, JSON elsewhere). Every line carries `fields`,
    also those of other libraries and of handlers, and what `current_fields` returns when it is written.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add(fields, current_fields),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if as_json
        else structlog.processors.TimeStamper("%H:%M:%S"),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(pad_event_to=28)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=renderer, foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name]
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    client = logging.getLogger(LOGGER)
    client.handlers, client.propagate = [ClientLog()], False
    for library in ("faust", "mode", "aiokafka"):
        # At level info they log each of their internal services.
        logging.getLogger(library).setLevel("WARNING")
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
