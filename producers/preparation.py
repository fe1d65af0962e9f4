"""From the jobs of one call to what is written for each, all validated before the first is sent."""

from collections.abc import Iterable
from typing import NamedTuple

from millstream.producers.request import MAX_PAYLOAD_BYTES, NewJob
from millstream.producers.tracing import current_traceparent
from millstream.schemas import Codec, SubmissionBytes, TopicCatalogue
from millstream.schemas.ids import new_id


class PreparedJob(NamedTuple):
    """A valid job, ready to be written to the lane `topic`."""

    job_id: str
    topic: str
    ordering_key: bytes
    payload: bytes
    shared: SubmissionBytes


class Preparation:
    """Prepares jobs as one client submits them. Thread-safe."""

    def __init__(
        self, topics: TopicCatalogue, codec: Codec, source: str = "", max_payload_bytes: int = MAX_PAYLOAD_BYTES
    ) -> None:
        self._topics = topics
        self._codec = codec
        self._source = source
        self._max_payload_bytes = max_payload_bytes

    def prepare(self, jobs: Iterable[NewJob]) -> list[PreparedJob]:
        """Raises `InvalidJob` for the first job that is not valid.

        Jobs that differ only in ordering key and payload are encoded once and have one `submitted_at`.
        """
        traceparent = current_traceparent()
        shared: dict[object, tuple[str, SubmissionBytes]] = {}
        prepared = []
        for job in list(jobs):
            payload, content_type = job.payload_bytes(self._max_payload_bytes)
            kind = job.shared_fields, content_type
            try:
                found = shared.get(kind)
            except TypeError:
                # A value that cannot be hashed is not valid either; validating the request names it.
                found = None
            if found and not job.ordering_key and job.job_id is None:
                prepared.append(PreparedJob(new_id(), found[0], b"", payload, found[1]))
                continue
            request = job.request(self._source, self._max_payload_bytes, self._topics.lanes, traceparent)
            if found is None:
                found = self._topics.lane(request.lane), SubmissionBytes.like(request, self._codec)
                shared[kind] = found
            prepared.append(PreparedJob(request.job_id, found[0], request.ordering_key.encode(), payload, found[1]))
        return prepared
