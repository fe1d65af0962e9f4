"""Runs the tracker in the foreground."""

import faust


class _Worker(faust.Worker):
    """Faust's worker without its own setup of logging, stdout and process title."""

    def _setup_logging(self) -> None:
        """Logging is configured by the caller."""

    def _setproctitle(self, info: str, *, ident: str = "") -> None:
        """The process keeps its name."""


def run_tracker(app: faust.App) -> None:
    """Run until SIGTERM or SIGINT, then leave the group and return. Logging is configured by the caller."""
    worker = _Worker(app, quiet=True, redirect_stdouts=False, override_logging=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if end.code:
            raise
