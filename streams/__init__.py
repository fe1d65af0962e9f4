"""The current state of each job, derived from its events with Faust."""

from millstream.streams.app import build_app
from millstream.streams.config import TrackerConfig
from millstream.streams.credentials import UnsupportedOption
from millstream.streams.runner import run_tracker

__all__ = ["TrackerConfig", "UnsupportedOption", "build_app", "run_tracker"]
