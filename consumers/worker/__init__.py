"""The execution runtime: handlers, their context, and the worker that runs them."""

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.supervisor import Supervisor
from millstream.consumers.worker.coordination.worker_id import claim_worker_id
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.registry import JobTypes, job, registered
from millstream.consumers.worker.scheduling.quotas import Quota
from millstream.consumers.worker.session import Drained
from millstream.consumers.worker.worker import Worker

__all__ = [
    "Drained",
    "JobContext",
    "JobTypes",
    "Quota",
    "Supervisor",
    "Worker",
    "WorkerConfig",
    "claim_worker_id",
    "job",
    "registered",
]
