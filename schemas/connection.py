"""How a client connects to Kafka, and the client settings that are part of the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from millstream.schemas.topics import MAX_RECORD_BYTES

Option = str | int | float | bool


@dataclass(frozen=True)
class KafkaConnection:
    """Addresses and security. `options` are librdkafka properties that every client gets (TLS, SASL...)."""

    bootstrap: str
    options: Mapping[str, Option] = field(default_factory=dict, repr=False)

    @property
    def quiet(self) -> "KafkaConnection":
        """The same connection with clients that log nothing: for commands that report errors themselves."""
        return replace(self, options={**self.options, "log_level": 0})

    def client(self, **properties: Option) -> dict[str, Option]:
        """Settings of any client; underscores in the names of `properties` stand for dots."""
        return {
            "bootstrap.servers": self.bootstrap,
            # Reconnect to a restarted broker within a second.
            "reconnect.backoff.max.ms": 1000,
            # Notices, warnings and errors.
            "log_level": 5,
            **self.options,
            **{name.replace("_", "."): value for name, value in properties.items()},
        }

    def producer(self, **properties: Option) -> dict[str, Option]:
        """Settings of a producer that loses nothing and places keys as the Java and Faust producers do."""
        return {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "message.max.bytes": MAX_RECORD_BYTES,
            **self.client(**properties),
        }

    def consumer(self, group: str, **properties: Option) -> dict[str, Option]:
        """Settings of a consumer that reads only committed records and commits only explicitly."""
        return {
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            **self.client(**properties),
        }
