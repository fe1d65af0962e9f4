"""The asyncio client."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

from millstream.producers.delivery import Receipt, Submission, SubmitError
from millstream.producers.preparation import Preparation, PreparedJob, listed
from millstream.producers.request import MAX_PAYLOAD_BYTES, NewJob, NewJobFields
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue

JOBS_A_TURN = 250
"""Jobs that are prepared or enqueued before the event loop may run other callbacks: a few milliseconds."""

_of_parents: list[object] = []
"""Producers of the process that this one was forked from."""


class AsyncJobClient:
    """Submits jobs without blocking the event loop.

        async with AsyncJobClient(KafkaConnection("localhost:9092")) as jobs:
            job_id = await jobs.submit("reports.render", {"report": 7}, tenant="acme")

    Parameters as of `JobClient`; `max_pending`: how many jobs may be unacknowledged before a submit waits. Use it from
    one event loop.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue | None = None,
        codec: Codec | None = None,
        *,
        source: str = "",
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        linger_ms: float = 1.0,
        delivery_timeout_s: float = 30.0,
        max_pending: int = 50_000,
    ) -> None:
        topics = topics or TopicCatalogue()
        self._preparation = Preparation(topics, codec or Codec(), source, max_payload_bytes)
        self._connect = partial(
            Submission, connection, topics, linger_ms=linger_ms, delivery_timeout_s=delivery_timeout_s
        )
        self._delivery_timeout_s = delivery_timeout_s
        self._max_pending = max_pending
        self._closing = threading.Event()
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._submission = self._connect()
        self._poller = threading.Thread(target=self._poll, name="millstream-submit", daemon=True)
        self._poller.start()

    def _after_fork(self) -> None:
        """A producer and its threads do not outlive a fork: the child gets its own."""
        if self._pid != os.getpid():
            # Destroying the parent's would wait for its threads.
            _of_parents.append(self._submission)
            self._open()

    async def submit(self, job_type: str, payload: Any = None, **fields: Unpack[NewJobFields]) -> str:
        """Submit one job and return its id once Kafka has acknowledged it. Errors as of `JobClient.submit`."""
        return (await self.submit_many([NewJob(job_type, payload, **fields)]))[0]

    async def submit_many(self, jobs: Iterable[NewJob]) -> list[str]:
        """Submit many jobs and return their ids, in order, once all are acknowledged."""
        self._after_fork()
        if self._submission.ended:
            self._submission = self._connect()
        deadline = time.monotonic() + self._delivery_timeout_s
        given, prepared = listed(jobs), list[PreparedJob]()
        for turn in self._preparation.in_turns(given, JOBS_A_TURN):
            prepared += turn
            await asyncio.sleep(0)
        loop, answered = asyncio.get_running_loop(), asyncio.Event()

        def answer() -> None:
            loop.call_soon_threadsafe(answered.set)

        receipt = Receipt(len(prepared), deadline, answer, self._submission.explain)
        for first in range(0, len(prepared), JOBS_A_TURN):
            await self._room(receipt)
            for job in prepared[first : first + JOBS_A_TURN]:
                self._submission.write(job, receipt)
            await asyncio.sleep(0)
        if prepared:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), max(0.0, deadline - time.monotonic()))
        try:
            receipt.check()
        except SubmitError as error:
            self._preparation.release(prepared, {job_id for job_id, _ in error.not_accepted})
            raise
        return [job.job_id for job in prepared]

    async def _room(self, receipt: Receipt) -> None:
        """Wait until the producer's buffer has room, so that enqueuing never blocks the loop."""
        while len(self._submission.producer) > 2 * self._max_pending and not receipt.late:  # noqa: ASYNC110 (the producer has no such event)
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Wait until every submitted job is acknowledged or has failed."""
        await asyncio.to_thread(self._submission.serve, self._submission.producer.flush, -1)
        self._closing.set()
        await asyncio.to_thread(self._poller.join)

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._submission.serve(self._submission.producer.poll, 0.1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
