"""The settings of a sink."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from millstream.listening import HttpGuard

MOST_ROWS = 1_000_000
"""Largest batch: the writer has ClickHouse form one block of up to this many rows, and one insert must be one block."""

MOST_FETCH_WAIT_MS = 2_000
"""What a sink asks of a partition waits for the fetch under way, and is given up after five seconds."""

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class SinkConfig(BaseModel):
    """The sink, which writes events to ClickHouse. The defaults suit low volumes as well as 100,000 events a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str = Field("millstream-sink", description="Consumer group; its commits are the sink's only state.")
    target_rows: Positive = Field(
        100_000, description="Rows from which a batch is inserted as soon as a writer is free, whatever its age."
    )
    max_rows: int = Field(100_000, ge=1, le=MOST_ROWS, description="Most rows of a batch.")
    max_bytes: Positive = Field(64 * 1024 * 1024, description="Most bytes of a batch.")
    min_age_s: Seconds = Field(
        0.1, description="Age at which a smaller batch is inserted while inserts are fast, in seconds."
    )
    max_age_s: Seconds = Field(1.0, description="Age at which a batch is inserted at the latest, in seconds.")
    max_buffered_bytes: Positive = Field(
        256 * 1024 * 1024, description="Bytes waiting for ClickHouse above which nothing more is read."
    )
    fetch_wait_ms: int = Field(
        500,
        ge=1,
        le=MOST_FETCH_WAIT_MS,
        description="How long a fetch without new records waits at the broker, in ms. A partition that is assigned or "
        "resumed waits for the fetch under way; an idle sink makes five fetches each time.",
    )
    parallel_inserts: Positive = Field(2, description="Inserts that run at the same time.")
    acknowledge_after_s: Seconds = Field(
        1.0,
        description="Time after which the last batch of a partition without a next one is acknowledged, in seconds.",
    )
    revoke_grace_s: Seconds = Field(
        3.0,
        description="How long a rebalance or a stop waits for inserts under way, in seconds; the next owner repeats "
        "the others.",
    )
    instance_id: str | None = Field(
        None, description="Id for static membership: a sink that restarts under it gets its partitions back at once."
    )
    health_host: str = Field("127.0.0.1", description="Address that the health endpoints listen on.")
    health_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the health endpoints `/ready`, `/live` and `/metrics`; 0 disables them.",
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="What a request for `/metrics` must carry as `Authorization: Bearer TOKEN`. `/ready` and `/live` "
        "need none.",
    )
    metrics_open: bool = Field(
        False,
        description="Whether everybody who reaches `health_host` may read `/metrics` without a token. Beyond loopback "
        "one of the two is required.",
    )

    def http_guard(self) -> HttpGuard | None:
        """Who may read the metrics; None without health endpoints. Raises `UnprotectedListener`."""
        if not self.health_port:
            return None
        names = ("sink.health_host", "sink.metrics_token", "sink.metrics_open")
        token = self.metrics_token.get_secret_value()
        return HttpGuard(self.health_host, token, is_open=self.metrics_open, settings=names)
