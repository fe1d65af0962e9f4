"""Millstream: a multi-tenant worker platform on Kafka."""

from importlib.metadata import PackageNotFoundError, version

from millstream.consumers.worker import Drained, JobContext, JobTypes, Worker, WorkerConfig, job
from millstream.producers import AsyncJobClient, InvalidJob, JobClient, NewJob, SubmitError
from millstream.schemas import (
    OUTCOMES,
    Codec,
    EventKind,
    JobEvent,
    JobRequest,
    JobState,
    KafkaConnection,
    State,
    TopicCatalogue,
)

try:
    __version__ = version("millstream")
except PackageNotFoundError:
    # A checkout that is imported without being installed.
    __version__ = "0"

__all__ = [
    "OUTCOMES",
    "AsyncJobClient",
    "Codec",
    "Drained",
    "EventKind",
    "InvalidJob",
    "JobClient",
    "JobContext",
    "JobEvent",
    "JobRequest",
    "JobState",
    "JobTypes",
    "KafkaConnection",
    "NewJob",
    "State",
    "SubmitError",
    "TopicCatalogue",
    "Worker",
    "WorkerConfig",
    "job",
]
