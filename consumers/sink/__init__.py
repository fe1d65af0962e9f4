"""Events into ClickHouse, each exactly once, without decoding them."""

from millstream.consumers.sink.sink import Sink, SinkConfig

__all__ = ["Sink", "SinkConfig"]
