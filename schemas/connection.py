"""How a client connects to Kafka, and the client settings that are part of the contract."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millstream.schemas.oauth import token_function
from millstream.schemas.topics import MAX_RECORD_BYTES

METADATA_REFRESH_MS = 10_000
"""How long a client may not know of new partitions, in milliseconds."""

Option = str | int | float | bool
Settings = dict[str, Any]
"""What a client of confluent-kafka takes: librdkafka's properties, and the logger."""

LOGGER = "librdkafka"
"""The logger of the standard library that the clients write to. A client writes while it is polled."""


TOKENS = "oauth_cb"
"""The setting of a client that holds the function of its tokens."""


def for_another_process(settings: Settings) -> Settings:
    """The settings without the logger, which belongs to this process. They can be pickled; a process that finds the
    modules of this one can unpickle them."""
    return {name: value for name, value in settings.items() if name != "logger"}


@dataclass(frozen=True)
class KafkaConnection:
    """Addresses and security. `options` are librdkafka properties that every client gets (TLS, SASL...).
    `oauth_token` is the path of the function that gives tokens (`oauth.TokenFunction`), `package.module:function`, with
    which clients log in by OAUTHBEARER; empty without one."""

    bootstrap: str
    options: Mapping[str, Option] = field(default_factory=dict, repr=False)
    oauth_token: str = ""

    @property
    def quiet(self) -> "KafkaConnection":
        """The same connection with clients that log nothing: for commands that report errors themselves."""
        return replace(self, options={**self.options, "log_level": 0})

    @property
    def user(self) -> str:
        """The name that the clients log in under, as far as the settings tell; empty without one."""
        return str(self.options.get("sasl.username", ""))

    @property
    def secured(self) -> bool:
        """Whether the clients tell the brokers who they are, or encrypt."""
        return str(self.options.get("security.protocol", "plaintext")).lower() != "plaintext"

    def client(self, **properties: Option) -> Settings:
        """Settings of any client; underscores in the names of `properties` stand for dots. Raises
        `InvalidTokenFunction`."""
        tokens = {"sasl.mechanism": "OAUTHBEARER", TOKENS: token_function(self.oauth_token)} if self.oauth_token else {}
        return {
            "logger": logging.getLogger(LOGGER),
            "bootstrap.servers": self.bootstrap,
            # Reconnect to a restarted broker within a second.
            "reconnect.backoff.max.ms": 1000,
            # Learn of a topic's new partitions within this time, in producers too: five minutes by default.
            "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
            # Notices, warnings and errors.
            "log_level": 5,
            **tokens,
            **self.options,
            **{name.replace("_", "."): value for name, value in properties.items()},
        }

    def producer(self, **properties: Option) -> Settings:
        """Settings of a producer that loses nothing and places keys as the Java and Faust producers do."""
        return {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "message.max.bytes": MAX_RECORD_BYTES,
            **self.client(**properties),
        }

    def consumer(self, group: str, **properties: Option) -> Settings:
        """Settings of a consumer that reads only committed records and commits only explicitly."""
        return {
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            **self.client(**properties),
        }
