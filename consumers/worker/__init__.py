"""The execution runtime: handlers, their context, and the worker that runs them."""

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.context import JobContext
from millstream.consumers.worker.jobs import JobTypes, job, registered
from millstream.consumers.worker.runtime import Drained, Worker

__all__ = ["Drained", "JobContext", "JobTypes", "Worker", "WorkerConfig", "job", "registered"]
