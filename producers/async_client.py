"""The asyncio client."""

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message

from millstream.producers.delivery import Submission, SubmitError, explain
from millstream.producers.request import MAX_PAYLOAD_BYTES, NewJob
from millstream.schemas import Codec, JobRequest, KafkaConnection, TopicCatalogue


class AsyncJobClient:
    """Submits jobs without blocking the event loop.

        async with AsyncJobClient(KafkaConnection("localhost:9092")) as jobs:
            job_id = await jobs.submit("reports.render", {"report": 7}, tenant="acme")

    Parameters as of `JobClient`. Use it from one event loop.
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
        self._source = source
        self._max_payload_bytes = max_payload_bytes
        self._lanes = (topics or TopicCatalogue()).lanes
        self._submission = Submission(
            connection,
            topics or TopicCatalogue(),
            codec or Codec(),
            linger_ms=linger_ms,
            delivery_timeout_s=delivery_timeout_s,
        )
        # Fewer than the producer's buffer holds (two records a job), so that handing over never blocks the loop.
        self._places = asyncio.Semaphore(max_pending)
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="millstream-submit", daemon=True)
        self._poller.start()

    async def submit(self, job_type: str, payload: Any = None, **fields: Any) -> str:
        """Submit one job and return its id once Kafka has acknowledged it. Errors as of `JobClient.submit`."""
        request = self._request(NewJob(job_type, payload, **fields))
        await self._accepted(request)
        return request.job_id

    async def submit_many(self, jobs: Iterable[NewJob]) -> list[str]:
        """Submit many jobs and return their ids, in order, once all are acknowledged."""
        requests = [self._request(job) for job in jobs]
        answers = await asyncio.gather(*map(self._accepted, requests), return_exceptions=True)
        failed: list[tuple[str, str]] = []
        for answer in answers:
            if isinstance(answer, SubmitError):
                failed += answer.failed
            elif isinstance(answer, BaseException):
                raise answer
        if failed:
            raise SubmitError(failed)
        return [request.job_id for request in requests]

    async def close(self) -> None:
        """Wait for what is still on its way."""
        await asyncio.to_thread(self._submission.producer.flush)
        self._closing.set()
        await asyncio.to_thread(self._poller.join)

    def _request(self, job: NewJob) -> JobRequest:
        return job.request(self._source, self._max_payload_bytes, self._lanes)

    async def _accepted(self, request: JobRequest) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if answer.done():
                return
            if error:
                answer.set_exception(SubmitError([(request.job_id, explain(error))]))
            else:
                answer.set_result(None)

        def delivered(error: KafkaError | None, _: Message) -> None:
            loop.call_soon_threadsafe(settle, error)

        async with self._places:
            try:
                self._submission.write(request, delivered)
            except KafkaException as error:
                raise SubmitError([(request.job_id, explain(error))]) from error
            await answer

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._submission.producer.poll(0.1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
