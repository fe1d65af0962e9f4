"""Topics into ClickHouse, each record exactly once, without decoding them."""

from millstream.consumers.sink.all_sinks import all_sinks, run_together
from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.rewind import SinkRunning, check_stopped, offsets_at, read_again, rewind
from millstream.consumers.sink.sink import Sink
from millstream.consumers.sink.sources import EVENTS, LOW_VOLUME, Source

__all__ = [
    "EVENTS",
    "LOW_VOLUME",
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
