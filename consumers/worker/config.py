"""The settings of one worker process."""

import socket
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from millstream.consumers.worker.scheduling.quotas import Quota
from millstream.listening import HttpGuard

Positive = Annotated[int, Field(ge=1)]
WithoutCommit = Literal["refuse", "earliest", "latest"]


class WorkerConfig(BaseModel):
    """One worker process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_id: str = Field(
        "",
        description="Name of this worker, unique among running workers and the same after a restart: its "
        "transactional id is made from it. When empty, the host's name and random digits.",
    )
    journal_folder: str = Field(
        "",
        description="Folder of the crash journal, which tells a worker that starts what ran when the one before it "
        "died; in a container, a volume. When empty, a folder of this user among the host's temporary files.",
    )
    group: str = Field(
        "millstream-workers",
        description="Prefix of the workers' consumer groups: each lane has its own, `<group>.<lane>`.",
    )
    without_commit: WithoutCommit = Field(
        "refuse",
        description="What to do with a partition whose jobs have run although the group has no commit for it, because "
        "the group was renamed or its commits expired: `refuse` ends the worker, `latest` runs only new jobs, "
        "`earliest` runs all that the topic holds again. A group that starts for the first time reads everything.",
    )
    lanes: tuple[str, ...] = Field((), description="Lanes to read; all when empty.")
    limit: Literal["adaptive", "fixed"] = Field(
        "adaptive", description="Whether the number of jobs that run at once on the event loop adapts to the load."
    )
    concurrency: Positive = Field(
        100,
        description="Jobs that may run at once on the event loop; the start of an adaptive limit, whose bounds are "
        "extended to it.",
    )
    min_concurrency: Positive = Field(10, description="Lower bound of an adaptive limit.")
    max_concurrency: Positive = Field(400, description="Upper bound of an adaptive limit.")
    threads: Positive = Field(16, description="Threads for handlers that are plain functions.")
    job_processes: Positive = Field(2, description='Child processes for handlers with runs_on="process".')
    tenants: dict[str, Quota] = Field(default_factory=dict, description="Quota of each tenant, on each worker.")
    job_types: dict[str, Quota] = Field(default_factory=dict, description="Quota of each job type, on each worker.")
    admission_jobs: Positive = Field(
        2_000,
        description="Jobs that may be taken and not finished; above it nothing more is fetched. Twice as many while a "
        "tenant's jobs are moved to the overflow topic, ten times while they cannot be moved for their ordering keys.",
    )
    admission_bytes: Positive = Field(
        64 * 1024 * 1024,
        description="Bytes of requests that may be taken and not finished; at most twice as many while jobs are moved.",
    )
    overflow_after_ms: Positive = Field(
        150,
        description="A tenant whose share of the admitted jobs would take longer to run than this, in ms, has its "
        "further jobs moved to the overflow topic, so that other tenants do not wait behind them.",
    )
    unknown_type_grace_s: float = Field(
        600.0,
        ge=0,
        description="How long jobs wait at a worker that has no handler for their type, or whose release cannot read "
        "their records, in seconds, before they become dead letters. In a deploy they go on at the new workers.",
    )
    commit_interval_ms: Positive = Field(50, description="How often outcomes and offsets are written, in ms.")
    fetch_wait_ms: Positive = Field(
        50,
        description="How long a fetch without new jobs waits at the broker, in ms. A partition that is assigned or "
        "resumed waits for the fetch under way; an idle worker makes five fetches each time.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="`consumer` (KIP-848) joins faster, but the broker sets its session timeout: 45 s by default.",
    )
    static_membership: bool = Field(
        False, description="Keep the partitions over a restart; for workers that a supervisor restarts."
    )
    session_timeout_ms: Positive = Field(
        6_000, description="Time without a sign from a worker after which its group reassigns its partitions, in ms."
    )
    transaction_timeout_ms: Positive = Field(
        10_000, description="Time after which the broker aborts a transaction that a dead worker left open, in ms."
    )
    heartbeat_misses: Positive = Field(
        3, description="Heartbeats, one a second, that a worker may miss before another worker fences it."
    )
    revoke_grace_s: float = Field(
        5.0,
        ge=0,
        description="How long a partition is held in a rebalance for running jobs that cannot go on without it, in "
        "seconds.",
    )
    handover_grace_s: float = Field(
        600.0,
        ge=0,
        description="How long jobs go on at this worker after their partition was handed over in a rebalance, in "
        "seconds; then they are given back to its new owner. 0 hands over without them.",
    )
    drain_grace_s: float = Field(
        25.0,
        ge=0,
        description="How long running jobs may take to finish after SIGTERM, in seconds; the rest is redelivered.",
    )
    blocked_loop_s: float = Field(
        30.0,
        ge=0,
        description="How long a coroutine may block the event loop, and so all others, before the worker process ends, "
        "in seconds; 0 disables the check.",
    )
    max_stuck_handlers: int = Field(
        100,
        ge=0,
        description="Handlers that may go on although their attempt has timed out or was cancelled, because they catch "
        "their cancellation or are in a thread; above it the worker drains and its process ends.",
    )
    health_host: str = Field("127.0.0.1", description="Address that the health endpoints listen on.")
    health_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Port of the health endpoints `/ready`, `/live` and `/metrics`; 0 disables them.",
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="What a request for `/metrics` must carry as `Authorization: Bearer TOKEN`: the metrics name "
        "tenants. `/ready` and `/live` need none.",
    )
    metrics_open: bool = Field(
        False,
        description="Whether everybody who reaches `health_host` may read `/metrics` without a token. Beyond loopback "
        "one of the two is required.",
    )
    host: str = Field(default_factory=socket.gethostname, description="Host name in events.")
    region: str = Field("", description="Region in events.")
    instance_type: str = Field("", description="Machine type in events, as in the price book.")
    version: str = Field("", description="Release of your handlers' code in events.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.limit == "adaptive" and not self.min_concurrency <= self.max_concurrency:
            raise ValueError(f"min_concurrency {self.min_concurrency} is above max_concurrency {self.max_concurrency}")
        return self

    def http_guard(self) -> HttpGuard | None:
        """Who may read the metrics; None without health endpoints. Raises `UnprotectedListener`."""
        if not self.health_port:
            return None
        names = ("worker.health_host", "worker.metrics_token", "worker.metrics_open")
        token = self.metrics_token.get_secret_value()
        return HttpGuard(self.health_host, token, is_open=self.metrics_open, settings=names)
