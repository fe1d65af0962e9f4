"""Everything that can be set about one worker process."""

import os
import socket
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]


class WorkerConfig(BaseModel):
    """One worker process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Name of this worker; its transactional id is made from it, so it must be unique among the living "
        "and is best the same after a restart.",
    )
    group: str = Field("millstream-workers", description="Consumer group of the workers.")
    lanes: tuple[str, ...] = Field((), description="Lanes to read; all when empty.")
    concurrency: Positive = Field(100, description="Jobs that may run at once on the event loop.")
    threads: Positive = Field(16, description="Threads for handlers that are plain functions.")
    window: Positive = Field(2_000, description="Jobs that may be taken and not finished; then partitions are paused.")
    commit_interval_ms: Positive = Field(50, description="How often outcomes and offsets are written, in ms.")
    session_timeout_ms: Positive = Field(
        6_000, description="Silence after which the group gives a worker's partitions to others, in ms."
    )
    transaction_timeout_ms: Positive = Field(
        10_000, description="Longest life of a transaction that a dead worker left open, in ms."
    )
    revoke_grace_s: float = Field(
        5.0, ge=0, description="How long running jobs may finish before their partition is handed over, in seconds."
    )
    drain_grace_s: float = Field(
        25.0, ge=0, description="How long running jobs may finish after SIGTERM, in seconds; the rest is redelivered."
    )
    host: str = Field(default_factory=socket.gethostname, description="Name of the machine in events.")
    region: str = Field("", description="Region of the machine in events.")
    instance_type: str = Field("", description="Machine type, as in the price book.")
    version: str = Field("", description="Release of your handlers' code in events.")
