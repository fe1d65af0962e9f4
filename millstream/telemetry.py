"""Log lines: coloured on a terminal, JSON elsewhere."""

import logging
import sys

import structlog


def configure_logging(log_format: str = "auto", level: str = "info", **fields: str) -> None:
    """Set up structlog and the standard library's logging to write lines to stderr.

    `log_format`: `console`, `json`, or `auto` (console on a terminal, JSON elsewhere). Every line carries `fields`.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if as_json
        else structlog.processors.TimeStamper("%H:%M:%S"),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(pad_event_to=28)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for library in ("faust", "mode", "aiokafka"):
        # At level info they log each of their internal services.
        logging.getLogger(library).setLevel("WARNING")
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**fields)
