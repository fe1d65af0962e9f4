"""Millstream: a multi-tenant worker platform on Kafka."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.clients import async_job_client, job_client
    from millstream.consumers.worker import Drained, JobContext, JobTypes, Worker, WorkerConfig, job
    from millstream.producers import AsyncJobClient, InvalidJob, JobClient, NewJob, NewJobFields, SubmitError
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
    from millstream.version import __version__
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clients": ("async_job_client", "job_client"),
            "consumers.worker": ("Drained", "JobContext", "JobTypes", "Worker", "WorkerConfig", "job"),
            "producers": ("AsyncJobClient", "InvalidJob", "JobClient", "NewJob", "NewJobFields", "SubmitError"),
            "schemas": (
                "OUTCOMES",
                "Codec",
                "EventKind",
                "JobEvent",
                "JobRequest",
                "JobState",
                "KafkaConnection",
                "State",
                "TopicCatalogue",
            ),
            "version": ("__version__",),
        },
    )

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
    "NewJobFields",
    "State",
    "SubmitError",
    "TopicCatalogue",
    "Worker",
    "WorkerConfig",
    "__version__",
    "async_job_client",
    "job",
    "job_client",
]
