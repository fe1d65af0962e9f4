"""Log lines: coloured on a terminal, JSON elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from millstream.line_rate import LineRate
from millstream.redaction import Redaction
from millstream.schemas.connection import LOGGER
from millstream.visible import visible, visible_lines

_LINES = {"exception", "stack"}
"""Fields that have several lines."""

LONGEST_VALUE = 10_000
"""Characters of a value; of a longer one the beginning and the end are written. An error may quote what a tenant wrote,
a megabyte of it."""

INTERVAL_S = 1.0
"""How often a line of one kind is written, of those that Kafka's client writes."""


class ClientLog(logging.Handler):
    """Writes what librdkafka logs as events of ours, at most one a second of each kind, with the number of those left
    out since the last one: while a broker is away each client of a process logs twenty lines a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._rate = LineRate(INTERVAL_S, clock)
        self._log = structlog.get_logger(LOGGER)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record or count it."""
        kind, _, message = record.getMessage().partition(" ")
        left_out = self._rate.admit(kind)
        if left_out is None:
            return
        level = min(record.levelno, logging.ERROR)
        self._log.log(level, "kafka_client", kind=kind, message=message, left_out=left_out)


def _redacted(
    redaction: Redaction, _: object, __: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {
        name: value if name.startswith("_") else _redacted_value(redaction, value) for name, value in fields.items()
    }


def _redacted_value(redaction: Redaction, value: object) -> object:
    """A text without what is looked for; of anything else its representation, if that holds some of it."""
    if isinstance(value, bool | int | float | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    redacted = redaction(text)
    return value if redacted == text else redacted


def _bounded(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value if name.startswith("_") else _bounded_value(value) for name, value in fields.items()}


def _bounded_value(value: object) -> object:
    """The value; of a longer text, or of anything else whose representation is longer, the beginning and the end."""
    if isinstance(value, bool | int | float | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    left_out = len(text) - LONGEST_VALUE
    if left_out <= 0:
        return value
    half = LONGEST_VALUE // 2
    return f"{text[:half]} ... {left_out:,} characters left out ... {text[-half:]}"


def _on_one_line(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """For people: no value can start a line that looks like another event, or control the terminal. The lines of a
    traceback are kept and indented. JSON needs none of this, as it escapes."""
    return {visible(name): _shown(name, value) for name, value in fields.items()}


def _shown(name: str, value: object) -> object:
    if name in _LINES:
        return visible_lines(str(value)).replace("\n", "\n    ")
    if isinstance(value, str):
        return visible(value)
    return value if repr(value).isprintable() else visible(repr(value))


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
    redaction: Redaction | None = None,
    current_fields: Callable[[], Mapping[str, object]] | None = None,
    **fields: str,
) -> None:
    """Set up structlog and the standard library's logging to write lines to stderr.

    `log_format`: `console`, `json`, or `auto` (console on a terminal, JSON elsewhere). Every line carries `fields`,
    also those of other libraries and of handlers, and what `current_fields` returns when it is written. `redaction` is
    applied to every text of a line.
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
        partial(_redacted, redaction or Redaction()),
        _bounded,
    ]
    renderers: list[structlog.typing.Processor]
    if as_json:
        renderers = [structlog.processors.JSONRenderer()]
    else:
        renderers = [_on_one_line, structlog.dev.ConsoleRenderer(pad_event_to=28)]
    handler = logging.StreamHandler(sys.stderr)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[remove_meta, *renderers], foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name]
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
