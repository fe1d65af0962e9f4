"""Topics into ClickHouse, each record exactly once, without decoding them."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.consumers.sink.all_sinks import run_together
    from millstream.consumers.sink.config import SinkConfig
    from millstream.consumers.sink.rewind import SinkRunning, check_stopped, offsets_at, read_again
    from millstream.consumers.sink.sink import Sink
    from millstream.consumers.sink.sources import EVENTS, LOW_VOLUME, Source
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "all_sinks": ("run_together",),
            "config": ("SinkConfig",),
            "rewind": ("SinkRunning", "check_stopped", "offsets_at", "read_again"),
            "sink": ("Sink",),
            "sources": ("EVENTS", "LOW_VOLUME", "Source"),
        },
    )

__all__ = [
    "EVENTS",
    "LOW_VOLUME",
    "Sink",
    "SinkConfig",
    "SinkRunning",
    "Source",
    "check_stopped",
    "offsets_at",
    "read_again",
    "run_together",
]
