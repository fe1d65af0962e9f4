"""The contracts: what is on the wire and in which topic. Imports nothing of ours."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.schemas.codec import Codec, DecodeError
    from millstream.schemas.connection import KafkaConnection
    from millstream.schemas.event_bytes import EventBytes, event_form, event_part, job_part
    from millstream.schemas.models import (
        OUTCOMES,
        Action,
        Alert,
        Change,
        Command,
        DeadLetter,
        DeadReason,
        EventKind,
        Heartbeat,
        InFlight,
        JobEvent,
        JobRequest,
        JobState,
        Record,
        Scope,
        State,
        WorkerState,
    )
    from millstream.schemas.registry import (
        ConfluentRegistry,
        PinnedRegistry,
        Registry,
        RegistryUnavailable,
        UnknownSchema,
    )
    from millstream.schemas.request_reader import ReadRequest, RequestReader
    from millstream.schemas.submission_bytes import SubmissionBytes
    from millstream.schemas.topics import Topic, TopicCatalogue
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "codec": ("Codec", "DecodeError"),
            "connection": ("KafkaConnection",),
            "event_bytes": ("EventBytes", "event_form", "event_part", "job_part"),
            "models": (
                "OUTCOMES",
                "Action",
                "Alert",
                "Change",
                "Command",
                "DeadLetter",
                "DeadReason",
                "EventKind",
                "Heartbeat",
                "InFlight",
                "JobEvent",
                "JobRequest",
                "JobState",
                "Record",
                "Scope",
                "State",
                "WorkerState",
            ),
            "registry": ("ConfluentRegistry", "PinnedRegistry", "Registry", "RegistryUnavailable", "UnknownSchema"),
            "request_reader": ("ReadRequest", "RequestReader"),
            "submission_bytes": ("SubmissionBytes",),
            "topics": ("Topic", "TopicCatalogue"),
        },
    )

__all__ = [
    "OUTCOMES",
    "Action",
    "Alert",
    "Change",
    "Codec",
    "Command",
    "ConfluentRegistry",
    "DeadLetter",
    "DeadReason",
    "DecodeError",
    "EventBytes",
    "EventKind",
    "Heartbeat",
    "InFlight",
    "JobEvent",
    "JobRequest",
    "JobState",
    "KafkaConnection",
    "PinnedRegistry",
    "ReadRequest",
    "Record",
    "Registry",
    "RegistryUnavailable",
    "RequestReader",
    "Scope",
    "State",
    "SubmissionBytes",
    "Topic",
    "TopicCatalogue",
    "UnknownSchema",
    "WorkerState",
    "event_form",
    "event_part",
    "job_part",
]
