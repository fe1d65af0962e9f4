"""The current state of each job, derived from its events with Faust."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.streams.app import build_app
    from millstream.streams.config import TrackerConfig
    from millstream.streams.credentials import UnsupportedOption
    from millstream.streams.runner import run_tracker
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "app": ("build_app",),
            "config": ("TrackerConfig",),
            "credentials": ("UnsupportedOption",),
            "runner": ("run_tracker",),
        },
    )

__all__ = ["TrackerConfig", "UnsupportedOption", "build_app", "run_tracker"]
