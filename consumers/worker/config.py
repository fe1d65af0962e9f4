"""Everything that can be set about one worker process."""

import socket
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from millstream.consumers.worker.scheduling.quotas import Quota

Positive = Annotated[int, Field(ge=1)]


class WorkerConfig(BaseModel):
    """One worker process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_id: str = Field(
        "",
        description="Name of this worker, unique among the living and the same after a restart: its transactional id "
        "is made from it. When empty, the host's name and the first number that no other worker on the host has.",
    )
    group: str = Field(
        "millstream-workers",
        description="Beginning of the workers' consumer groups: each lane has its own, `<group>.<lane>`.",
    )
    lanes: tuple[str, ...] = Field((), description="Lanes to read; all when empty.")
    limit: Literal["adaptive", "fixed"] = Field(
        "adaptive", description="Whether the number of jobs at once on the event loop follows what the host can bear."
    )
    concurrency: Positive = Field(
        100, description="Jobs that may run at once on the event loop; where an adaptive limit begins."
    )
    min_concurrency: Positive = Field(10, description="The least that an adaptive limit allows.")
    max_concurrency: Positive = Field(400, description="The most that an adaptive limit allows.")
    threads: Positive = Field(16, description="Threads for handlers that are plain functions.")
    job_processes: Positive = Field(2, description='Child processes for handlers with runs_on="process".')
    tenants: dict[str, Quota] = Field(default_factory=dict, description="Quota of each tenant, on each worker.")
    job_types: dict[str, Quota] = Field(default_factory=dict, description="Quota of each job type, on each worker.")
    window: Positive = Field(
        2_000,
        description="Jobs that may be taken and not finished; then fetching stops. Twice as many while a tenant's are "
        "moved to the overflow topic, ten times while a tenant's should be and have ordering keys.",
    )
    window_bytes: Positive = Field(
        64 * 1024 * 1024, description="Bytes of requests that may be taken, likewise; never more than twice as many."
    )
    overflow_after_ms: Positive = Field(
        150,
        description="A tenant whose share of the window would take longer to run, in ms, has the rest of its records "
        "moved to the overflow topic, so that nobody waits behind them.",
    )
    commit_interval_ms: Positive = Field(50, description="How often outcomes and offsets are written, in ms.")
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="`consumer` (KIP-848) joins faster, but its session is the broker's: 45 s on a stock broker.",
    )
    static_membership: bool = Field(
        False, description="Keep the partitions over a restart. For workers whose supervisor starts them again."
    )
    session_timeout_ms: Positive = Field(
        6_000, description="Silence after which the group gives a worker's partitions to others, in ms."
    )
    transaction_timeout_ms: Positive = Field(
        10_000, description="Longest life of a transaction that a dead worker left open, in ms."
    )
    heartbeat_misses: Positive = Field(
        3, description="HeartbeatSender, one a second, that a worker may miss before another one fences it."
    )
    revoke_grace_s: float = Field(
        5.0, ge=0, description="How long running jobs may finish before their partition is handed over, in seconds."
    )
    drain_grace_s: float = Field(
        25.0, ge=0, description="How long running jobs may finish after SIGTERM, in seconds; the rest is redelivered."
    )
    blocked_loop_s: float = Field(
        30.0,
        ge=0,
        description="How long a coroutine may block the event loop, and with it all others, before the worker ends "
        "itself, in seconds; 0 for ever.",
    )
    health_host: str = Field("127.0.0.1", description="Address of `/ready`, `/live` and `/metrics`.")
    health_port: int = Field(0, ge=0, le=65_535, description="Port of them; 0 for none.")
    host: str = Field(default_factory=socket.gethostname, description="Name of the machine in events.")
    region: str = Field("", description="Region of the machine in events.")
    instance_type: str = Field("", description="Machine type, as in the price book.")
    version: str = Field("", description="Release of your handlers' code in events.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.limit == "adaptive" and not self.min_concurrency <= self.max_concurrency:
            raise ValueError(f"min_concurrency {self.min_concurrency} is above max_concurrency {self.max_concurrency}")
        return self
