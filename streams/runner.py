"""Runs the tracker in the foreground."""

from typing import cast

import faust

from millstream.streams.log_limit import LIBRARY_LOGGER, limit_library_logs
from millstream.streams.web_server import WebServer


class _Worker(faust.Worker):
    """Faust's worker without its own setup of logging, stdout and process title."""

    logger = LIBRARY_LOGGER

    def _setup_logging(self) -> None:
        """Logging is configured by the caller."""

    def _setproctitle(self, info: str, *, ident: str = "") -> None:
        """The process keeps its name."""


def run_tracker(app: faust.App) -> None:
    """Run until SIGTERM or SIGINT, then leave the group and return. Logging is configured by the caller. Raises
    `PortTaken`."""
    cast(WebServer, app.web).listen()
    limit_library_logs()
    worker = _Worker(app, quiet=True, redirect_stdouts=False, override_logging=False)
    # It would write control characters of a terminal, into files too.
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if end.code:
            raise
