"""Everything that can be set about a sink."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_ROWS = 1_000_000
"""Largest batch: the writer has ClickHouse form one block of up to this many rows, and one insert must be one block."""

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class SinkConfig(BaseModel):
    """The sink, which writes events to ClickHouse. The defaults suit a quiet system and 100,000 events a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str = Field("millstream-sink", description="Consumer group; its commits are the sink's only state.")
    target_rows: Positive = Field(
        100_000, description="A batch of so many rows is inserted as soon as there is a free writer, else it grows."
    )
    max_rows: int = Field(100_000, ge=1, le=MOST_ROWS, description="Rows of a batch at most.")
    max_bytes: Positive = Field(64 * 1024 * 1024, description="Bytes of a batch at most.")
    min_seconds: Seconds = Field(
        0.1, description="Age at which a smaller batch is inserted while ClickHouse answers fast, in seconds."
    )
    max_seconds: Seconds = Field(1.0, description="Age at which a batch is inserted at the latest, in seconds.")
    max_buffered_bytes: Positive = Field(
        512 * 1024 * 1024, description="Nothing more is read while so many bytes wait for ClickHouse."
    )
    parallel_inserts: Positive = Field(2, description="Inserts at once.")
    acknowledge_seconds: Seconds = Field(
        1.0, description="A partition without a next batch has its last one acknowledged after this, in seconds."
    )
    release_seconds: Seconds = Field(
        3.0, description="How long a rebalance or a stop waits for inserts under way; the next owner repeats the rest."
    )
    instance_id: str | None = Field(
        None, description="Static membership: a sink that restarts under the same id gets its partitions back at once."
    )
