"""Events into ClickHouse, each exactly once, without decoding them."""

from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.sink import Sink

__all__ = ["Sink", "SinkConfig"]
