"""The schemas of a source's records: which records can be inserted, which never can, and which cannot yet.

A record cannot be inserted yet when a newer release wrote it, or when the Schema Registry does not answer for its
schema.
"""

import threading
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from millstream.consumers.sink.avro_file import AvroFile
from millstream.schemas.codec import DecodeError, schema_id_of
from millstream.schemas.registry import (
    NewerSchema,
    Registry,
    RegistryUnavailable,
    UnannouncedSchema,
    UnknownSchema,
)

ASK_AGAIN_S = 3.0
ANSWER_WITHIN_S = 0.05
"""How long `unreadable` waits for the answer of a registry that it has just asked."""

NOT_ANSWERED = "its schema is still being looked up"
"""The cause while the registry has not answered, as it does within a moment unless something is wrong."""

MOST_REFUSED = 10_000
"""Headers that are remembered as those of records that can never be inserted."""


class RecordSchemas:
    """The schemas of the records of one name, such as "JobEvent", by the wire headers of the records. Thread-safe, but
    for `unreadable`."""

    def __init__(self, registry: Registry, record: str) -> None:
        self._registry = registry
        self._record = record
        self._files: dict[bytes, AvroFile] = {}
        self._refused: set[bytes] = set()
        self._lock = threading.Lock()
        # Asking a registry may block for long; this thread starts when it is first needed.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink-schemas")
        self._asked: dict[bytes, tuple[float, Future[_Answer]]] = {}
        self._unannounced: set[bytes] = set()

    def file(self, header: bytes) -> AvroFile:
        """Makes data files of the records with this header.

        Raises `DecodeError` and `UnknownSchema` when they can never be inserted, `NewerSchema` and
        `RegistryUnavailable` when they cannot yet.
        """
        with self._lock:
            known = self._files.get(header)
        if known is not None:
            return known
        schema_id = schema_id_of(header)
        schema = self._registry.schema_of(schema_id)
        if schema["name"] != self._record:
            raise DecodeError(f"schema {schema_id} is {schema['name']}, not {self._record}")
        file = AvroFile(schema)
        with self._lock:
            return self._files.setdefault(header, file)

    def unreadable(self, headers: Collection[bytes]) -> dict[bytes, str]:
        """Those of these headers whose records cannot be inserted yet, with the cause. Does not wait for a slow
        registry: until it answers, the records cannot be inserted yet. Called by one thread."""
        found = {}
        for header in headers:
            if header in self._files or header in self._refused or not _names_a_schema(header):
                continue
            cause = self._cause(header, time.monotonic())
            if cause is not None:
                found[header] = cause
        return found

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _cause(self, header: bytes, now: float) -> str | None:
        asked_at, asked = self._asked.get(header, (now, None))
        wait_s = 0.0
        if asked is None or (asked.done() and now - asked_at >= ASK_AGAIN_S):
            asked = self._thread.submit(self._ask, header)
            self._asked[header] = now, asked
            wait_s = ANSWER_WITHIN_S
        try:
            answer = asked.result(wait_s)
        except TimeoutError:
            return None if header in self._unannounced else NOT_ANSWERED
        if answer.waits_for:
            return answer.waits_for
        if answer.unannounced:
            # It is asked again, because a release may announce it later; until the next answer this one counts.
            self._unannounced.add(header)
            return None
        if answer.refused:
            if len(self._refused) >= MOST_REFUSED:
                self._refused.clear()
            self._refused.add(header)
        del self._asked[header]
        return None

    def _ask(self, header: bytes) -> "_Answer":
        try:
            self.file(header)
        except (NewerSchema, RegistryUnavailable) as error:
            return _Answer(waits_for=str(error))
        except UnannouncedSchema:
            return _Answer(unannounced=True)
        except (DecodeError, UnknownSchema):
            return _Answer(refused=True)
        return _Answer()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of a header: what its records wait for, or why they can never be inserted. It is kept, so it is no
    exception: that would keep the records of everyone whom it passed through."""

    waits_for: str = ""
    unannounced: bool = False
    refused: bool = False


def _names_a_schema(header: bytes) -> bool:
    """Whether it is a wire header at all. What is none is judged here: it never waits for a registry."""
    try:
        schema_id_of(header)
    except DecodeError:
        return False
    return True
