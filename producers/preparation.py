"""From the jobs of one call to what is written for each, all validated before the first is sent."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from millstream.producers.attempt_numbers import AttemptNumbers
from millstream.producers.request import MAX_ATTEMPT, MAX_PAYLOAD_BYTES, InvalidJob, NewJob, with_attempts
from millstream.producers.tracing import current_traceparent
from millstream.schemas import Codec, SubmissionBytes, TopicCatalogue
from millstream.schemas.ids import new_id


class PreparedJob(NamedTuple):
    """A valid job, ready to be written to the lane `topic`. `attempts`: those that it may have."""

    job_id: str
    topic: str
    ordering_key: bytes
    payload: bytes
    shared: SubmissionBytes
    attempts: range


class _Shared(NamedTuple):
    """What jobs have in common that differ only in id, ordering key and payload."""

    topic: str
    bytes: SubmissionBytes
    attempts: range


class Preparation:
    """Prepares jobs as one client submits them. Thread-safe."""

    def __init__(
        self, topics: TopicCatalogue, codec: Codec, source: str = "", max_payload_bytes: int = MAX_PAYLOAD_BYTES
    ) -> None:
        self._topics = topics
        self._codec = codec
        self._source = source
        self._max_payload_bytes = max_payload_bytes
        self._attempts = AttemptNumbers()

    def prepare(self, jobs: Iterable[NewJob]) -> list[PreparedJob]:
        """All jobs of a call; see `in_turns`."""
        given = listed(jobs)
        return list(chain.from_iterable(self.in_turns(given, max(1, len(given)))))

    def in_turns(self, jobs: Sequence[NewJob], size: int) -> Iterator[list[PreparedJob]]:
        """The jobs of a call, so many at a time. Raises `InvalidJob` for the first job that is not valid, with its
        place if there are several, and for a second one of the same id.

        The attempts of each job are taken: another submission under its id gets others. When not all jobs are valid
        none is taken. Jobs of a turn that differ only in ordering key and payload are encoded once and have one
        `submitted_at`.
        """
        places: dict[str, int] = {}
        prepared: list[PreparedJob] = []
        complete = False
        try:
            for first in range(0, len(jobs), size):
                turn = self._turn(jobs[first : first + size], first, places, prepared, alone=len(jobs) == 1)
                complete = first + size >= len(jobs)
                yield turn
        finally:
            if not complete:
                self.release(prepared)

    def release(self, jobs: Iterable[PreparedJob], only: Collection[str] | None = None) -> None:
        """Give back the attempts of jobs that Kafka does not have; `only`: the ids of those of `jobs`."""
        for job in jobs:
            if only is None or job.job_id in only:
                self._attempts.release(job.job_id, job.attempts)

    def _turn(
        self, jobs: Sequence[NewJob], first: int, places: dict[str, int], prepared: list[PreparedJob], alone: bool
    ) -> list[PreparedJob]:
        traceparent = current_traceparent()
        shared: dict[object, _Shared] = {}
        begin = len(prepared)
        try:
            for job in jobs:
                place = len(prepared)
                ready = self._prepared(job, shared, traceparent, places, place)
                prepared.append(ready)
        except InvalidJob as error:
            if alone:
                raise
            raise InvalidJob(f"job {len(prepared)} of the call (the first is 0): {error}") from error
        turn = prepared[begin:]
        self._attempts.take_first({job.job_id: job.attempts.stop for job in turn if job.job_id not in places})
        return turn

    def _prepared(
        self, job: NewJob, shared: dict[object, _Shared], traceparent: str, places: dict[str, int], place: int
    ) -> PreparedJob:
        if not isinstance(job, NewJob):
            raise InvalidJob(f"a NewJob is expected, not a {type(job).__name__}")
        payload, content_type = job.payload_bytes(self._max_payload_bytes)
        kind: tuple[object, ...] = job.shared_fields, content_type
        try:
            found = shared.get(kind)
        except TypeError:
            # A value that cannot be hashed is not valid either; validating the request names it.
            found = None
        if found and not job.ordering_key and job.job_id is None:
            return PreparedJob(new_id(), found.topic, b"", payload, found.bytes, found.attempts)
        request = job.request(self._source, self._max_payload_bytes, self._topics.lanes, traceparent)
        attempts = range(request.attempt, request.max_attempts + 1)
        if job.job_id is not None:
            attempts = self._taken(request.job_id, job.attempt, len(attempts), places, place)
            request = with_attempts(request, attempts)
            kind = *kind, attempts
            found = shared.get(kind)
        if found is None:
            found = _Shared(self._topics.lane(request.lane), SubmissionBytes.like(request, self._codec), attempts)
            shared[kind] = found
        return PreparedJob(
            request.job_id, found.topic, request.ordering_key.encode(), payload, found.bytes, found.attempts
        )

    def _taken(self, job_id: str, first: int | None, count: int, places: dict[str, int], place: int) -> range:
        """The attempts of a job whose id was given. Raises `InvalidJob`."""
        if (other := places.setdefault(job_id, place)) != place:
            raise InvalidJob(f"job_id={job_id!r}: job {other} of the call has the same id")
        try:
            attempts = self._attempts.take(job_id, first, count)
        except ValueError as error:
            raise InvalidJob(str(error)) from error
        if attempts.start > MAX_ATTEMPT:
            self._attempts.release(job_id, attempts)
            raise InvalidJob(f"job_id={job_id!r}: its next attempt is {attempts.start:,}, at most {MAX_ATTEMPT:,}")
        return attempts


def listed(jobs: Iterable[NewJob]) -> list[NewJob]:
    """The jobs of a call. Raises `InvalidJob` when they are no series of anything."""
    if not isinstance(jobs, Iterable):
        raise InvalidJob(f"a series of NewJobs is expected, not a {type(jobs).__name__}")
    return list(jobs)
