"""Runs the tracker in the foreground."""

import asyncio
import threading
from typing import cast

import faust
import structlog

from millstream.streams.log_limit import LIBRARY_LOGGER, limit_library_logs
from millstream.streams.web_server import WebServer

log = structlog.get_logger(__name__)


class _Worker(faust.Worker):
    """Faust's worker without its own setup of logging, stdout and process title."""

    logger = LIBRARY_LOGGER

    def _setup_logging(self) -> None:
        """Logging is configured by the caller."""

    def _setproctitle(self, info: str, *, ident: str = "") -> None:
        """The process keeps its name."""


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """Log how a thread ended. That of Faust's consumer is cancelled when it stops while no broker answers."""
    if args.exc_value is not None and not isinstance(args.exc_value, asyncio.CancelledError):
        log.error("thread_failed", thread=args.thread.name if args.thread else "", exc_info=args.exc_value)


def run_tracker(app: faust.App) -> None:
    """Run until SIGTERM or SIGINT, then leave the group and return. Logging is configured by the caller. Raises
    `PortTaken`."""
    cast(WebServer, app.web).listen()
    limit_library_logs()
    threading.excepthook = _thread_ended
    worker = _Worker(app, quiet=True, redirect_stdouts=False, override_logging=False)
    # It would write control characters of a terminal, into files too.
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if end.code:
            raise
