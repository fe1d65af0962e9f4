"""The execution runtime: handlers, their context, and the worker that runs them."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.consumers.worker.config import WorkerConfig
    from millstream.consumers.worker.coordination.supervisor import Supervisor
    from millstream.consumers.worker.coordination.worker_id import new_worker_id
    from millstream.consumers.worker.execution.job_context import JobContext
    from millstream.consumers.worker.execution.registry import JobTypes, job, registered
    from millstream.consumers.worker.scheduling.quotas import Quota
    from millstream.consumers.worker.session import Drained
    from millstream.consumers.worker.worker import Worker
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "config": ("WorkerConfig",),
            "coordination.supervisor": ("Supervisor",),
            "coordination.worker_id": ("new_worker_id",),
            "execution.job_context": ("JobContext",),
            "execution.registry": ("JobTypes", "job", "registered"),
            "scheduling.quotas": ("Quota",),
            "session": ("Drained",),
            "worker": ("Worker",),
        },
    )

__all__ = [
    "Drained",
    "JobContext",
    "JobTypes",
    "Quota",
    "Supervisor",
    "Worker",
    "WorkerConfig",
    "job",
    "new_worker_id",
    "registered",
]
