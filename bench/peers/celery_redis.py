"""Celery on Redis with `acks_late`, without results, events and gossip.

The prefork pool, its default, where processes are compared; the thread pool where many sleeping jobs share one process.
"""

import os
import sys
import time
from typing import Any

from celery import Celery

from peers.tally import tally

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    # The default of 4 halves its rate here.
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def noop(payload: dict[str, Any]) -> None:
    tally.count()


@app.task
def nap(payload: dict[str, Any]) -> None:
    if payload["at"] is not None:
        tally.waited(payload["at"])
    time.sleep(payload["seconds"])
    tally.count()


JOBS = {"noop": noop, "nap": nap}


def submit(job: str, payload: dict[str, Any]) -> None:
    JOBS[job].apply_async((payload,))


def submit_many(job: str, payloads: list[dict[str, Any]]) -> None:
    task = JOBS[job]
    with app.producer_pool.acquire(block=True) as producer:
        for payload in payloads:
            task.apply_async((payload,), producer=producer)


def worker(processes: int, concurrency: int) -> list[str]:
    pool = ["--pool", "threads", "-c", str(concurrency)] if concurrency else ["--pool", "prefork", "-c", str(processes)]
    quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [sys.executable, "-m", "celery", "-A", __name__, "worker", *pool, *quiet]
