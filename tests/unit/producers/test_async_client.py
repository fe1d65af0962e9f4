"""Submitting many jobs leaves the event loop to others."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from millstream.producers import AsyncJobClient, NewJob, async_client
from millstream.producers.async_client import JOBS_A_TURN
from millstream.producers.delivery import Receipt
from millstream.producers.error_text import ErrorText
from millstream.producers.preparation import Preparation, PreparedJob
from millstream.schemas import KafkaConnection

turns: list[None] = []
"""One for each turn of another callback on the event loop."""

prepared: Counter[int] = Counter()
written: Counter[int] = Counter()


class EmptyProducer:
    def __len__(self) -> int:
        return 0

    def poll(self, timeout_s: float) -> int:
        time.sleep(timeout_s)
        return 0

    def flush(self, timeout_s: float) -> int:
        return 0


class AcceptsAll:
    """A submission whose broker acknowledges each job at once."""

    ended = False
    explain = ErrorText()

    def __init__(self, *_: Any, **__: Any) -> None:
        self.producer = EmptyProducer()

    def serve(self, wait: Callable[[float], int], timeout_s: float) -> None:
        wait(timeout_s)

    def write(self, job: PreparedJob, receipt: Receipt) -> None:
        written[len(turns)] += 1
        receipt.watch(job.job_id)(None, None)  # type: ignore[arg-type]


class CountsJobs(Preparation):
    def in_turns(self, jobs: Sequence[NewJob], size: int) -> Iterator[list[PreparedJob]]:
        for turn in super().in_turns(jobs, size):
            prepared[len(turns)] += len(turn)
            yield turn


async def count_turns() -> None:
    while True:
        turns.append(None)
        await asyncio.sleep(0)


async def test_others_have_their_turn_after_a_few_hundred_jobs_of_a_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_client, "Submission", AcceptsAll)
    monkeypatch.setattr(async_client, "Preparation", CountsJobs)
    counting = asyncio.create_task(count_turns())
    async with AsyncJobClient(KafkaConnection("nowhere:1")) as client:
        ids = await client.submit_many([NewJob("a.b", {"n": n}) for n in range(10 * JOBS_A_TURN)])
    counting.cancel()
    assert len(set(ids)) == 10 * JOBS_A_TURN
    assert prepared.total() == written.total() == 10 * JOBS_A_TURN
    assert max(prepared.values()) <= JOBS_A_TURN
    assert max(written.values()) <= JOBS_A_TURN
