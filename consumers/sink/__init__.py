"""Topics into ClickHouse, each record exactly once, without decoding them."""

from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.fleet import all_sinks, run_together
from millstream.consumers.sink.rewind import SinkRunning, check_stopped, offsets_at, read_again, rewind
from millstream.consumers.sink.sink import Sink
from millstream.consumers.sink.sources import EVENTS, QUIET, Source

__all__ = [
    "EVENTS",
    "QUIET",
    "Sink",
    "SinkConfig",
    "SinkRunning",
    "Source",
    "all_sinks",
    "check_stopped",
    "offsets_at",
    "read_again",
    "rewind",
    "run_together",
]
