"""The contracts: what is on the wire and in which topic. Imports nothing of ours."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.schemas.alert import Alert
    from millstream.schemas.change import Change
    from millstream.schemas.codec import Codec, DecodeError
    from millstream.schemas.command import Action, Command, Scope
    from millstream.schemas.connection import KafkaConnection
    from millstream.schemas.dead_letter import DeadLetter, DeadReason
    from millstream.schemas.event_bytes import EventBytes, event_encoder, event_part, job_part
    from millstream.schemas.heartbeat import Heartbeat, InFlight, WorkerState
    from millstream.schemas.job_event import OUTCOMES, EventKind, JobEvent
    from millstream.schemas.job_request import JobRequest
    from millstream.schemas.job_state import JobState, State
    from millstream.schemas.record import Record
    from millstream.schemas.registry import (
        ConfluentRegistry,
        NewerSchema,
        PinnedRegistry,
        Registry,
        RegistryUnavailable,
        UnannouncedSchema,
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
            "event_bytes": ("EventBytes", "event_encoder", "event_part", "job_part"),
            "alert": ("Alert",),
            "change": ("Change",),
            "command": ("Action", "Command", "Scope"),
            "dead_letter": ("DeadLetter", "DeadReason"),
            "heartbeat": ("Heartbeat", "InFlight", "WorkerState"),
            "job_event": ("OUTCOMES", "EventKind", "JobEvent"),
            "job_request": ("JobRequest",),
            "job_state": ("JobState", "State"),
            "record": ("Record",),
            "registry": (
                "ConfluentRegistry",
                "NewerSchema",
                "PinnedRegistry",
                "Registry",
                "RegistryUnavailable",
                "UnannouncedSchema",
                "UnknownSchema",
            ),
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
    "NewerSchema",
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
    "UnannouncedSchema",
    "UnknownSchema",
    "WorkerState",
    "event_encoder",
    "event_part",
    "job_part",
]
