"""Dramatiq on Redis, with its default middleware: a message is acknowledged after its job."""

import os
import sys
import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from peers.tally import tally

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))


@dramatiq.actor
def noop(payload: dict[str, Any]) -> None:
    tally.count()


@dramatiq.actor
def nap(payload: dict[str, Any]) -> None:
    if payload["at"] is not None:
        tally.waited(payload["at"])
    time.sleep(payload["seconds"])
    tally.count()


JOBS = {"noop": noop, "nap": nap}


def submit(job: str, payload: dict[str, Any]) -> None:
    JOBS[job].send(payload)


def submit_many(job: str, payloads: list[dict[str, Any]]) -> None:
    actor = JOBS[job]
    for payload in payloads:
        actor.send(payload)


def worker(processes: int, concurrency: int) -> list[str]:
    threads = str(concurrency or 8)
    return [sys.executable, "-m", "dramatiq", __name__, "--processes", str(processes), "--threads", threads]
