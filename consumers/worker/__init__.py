"""The execution runtime: handlers, their context, and the worker that runs them."""

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.context import JobContext
from millstream.consumers.worker.jobs import JobTypes, job, registered
from millstream.consumers.worker.quotas import Quota
from millstream.consumers.worker.runtime import Drained, Worker
from millstream.consumers.worker.slots import claim_worker_id
from millstream.consumers.worker.supervisor import Supervisor, end_with_parent

__all__ = [
    "Drained",
    "JobContext",
    "JobTypes",
    "Quota",
    "Supervisor",
    "Worker",
    "WorkerConfig",
    "claim_worker_id",
    "end_with_parent",
    "job",
    "registered",
]
