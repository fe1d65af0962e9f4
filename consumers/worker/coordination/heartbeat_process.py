"""Sends a worker's heartbeats from a process of its own, which no handler of the worker can hold up.

A handler that holds the interpreter's lock, in a regular expression or in native code, stops every thread of its
worker. This process goes on: what the worker told last is sent again, with its age, until the worker speaks or is gone.

`heartbeat.py` starts this file as a script. It imports nothing of Millstream, so it starts in a moment and stays small.
Its standard input is a series of pickled objects: a `Setup` as a dictionary, then the `HeartbeatParts` of each
heartbeat as a tuple. The end of the input without a heartbeat in the state `stopped` means that the worker has died.
Its standard output is a line for each heartbeat that Kafka refuses, with the reason.
"""

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, TypedDict

from confluent_kafka import KafkaError, KafkaException, Producer

STATE, AGE_MS, RETAINS_AS = "state", "age_ms", "retains_as"
"""Headers that this process adds to those of the worker."""

STOPPED, DIED = "stopped", "died"
"""States after which there is no heartbeat: the worker has ended as it should, or its process is gone."""

LATE = 1.5
"""Intervals without a word from the worker after which its last heartbeat is sent again."""

FLUSH_S = 3.0


class Setup(TypedDict):
    """What does not change from one heartbeat to the next. `parent`: the worker's pid. `properties`: of the
    producer."""

    parent: int
    interval_s: float
    topic: str
    key: bytes
    headers: Mapping[str, bytes]
    properties: Mapping[str, str | int | float | bool]


class HeartbeatParts(NamedTuple):
    """One heartbeat: its encoded body without the moment, which stands between `before` and `after`. `retains_as`:
    the transactional id under which the worker writes outcomes of partitions that it has given back, if it does."""

    state: str
    retains_as: str
    before: bytes
    after: bytes


def body(newest: HeartbeatParts, now: float) -> bytes:
    """The body of a heartbeat that is sent at `now`, in seconds since 1970."""
    number, moment = int(now * 1_000_000) << 1, bytearray()
    while number >= 0x80:
        moment.append(number & 0x7F | 0x80)
        number >>= 7
    return newest.before + bytes((*moment, number)) + newest.after


def run(source: BinaryIO, producer: Any, setup: Setup) -> None:
    """Send what comes from `source` until the worker stops or dies."""
    arriving: queue.SimpleQueue[HeartbeatParts | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, arriving), daemon=True).start()
    newest, told_at = None, time.monotonic()
    wait_s = LATE * setup["interval_s"]
    while True:
        try:
            given = arriving.get(timeout=wait_s)
            # The input stays open while a process that the worker forked has a copy of it.
            gone = given is None
        except queue.Empty:
            given, gone = None, os.getppid() != setup["parent"]
        if given is not None:
            newest, told_at = given, time.monotonic()
        wait_s = (LATE if given is not None else 1.0) * setup["interval_s"]
        if newest is not None:
            _send(producer, setup, newest._replace(state=DIED) if gone else newest, time.monotonic() - told_at)
        if gone or (newest is not None and newest.state == STOPPED):
            producer.flush(FLUSH_S)
            return


def _send(producer: Any, setup: Setup, newest: HeartbeatParts, age_s: float) -> None:
    headers = {
        **setup["headers"],
        STATE: newest.state.encode(),
        AGE_MS: str(int(age_s * 1000)).encode(),
        RETAINS_AS: newest.retains_as.encode(),
    }
    try:
        producer.produce(
            setup["topic"],
            body(newest, time.time()),
            setup["key"],
            headers=list(headers.items()),
            on_delivery=_delivered,
        )
        producer.poll(0)
    except (BufferError, KafkaException):
        # The next heartbeat says everything that this one would have; the worker's own clients log what is wrong.
        producer.poll(0)


def _delivered(error: Any, _: Any) -> None:
    """Tell the worker of a right that is missing, which its own clients do not notice."""
    if error is not None and error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._UNKNOWN_TOPIC):
        print(error.str(), flush=True)


def _read(source: BinaryIO, arriving: "queue.SimpleQueue[HeartbeatParts | None]") -> None:
    try:
        while True:
            arriving.put(HeartbeatParts(*pickle.load(source)))
    except (EOFError, OSError, pickle.UnpicklingError):
        arriving.put(None)


def main() -> None:
    # Whoever signals a whole group of processes means the worker: this process ends after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    source = sys.stdin.buffer
    try:
        setup: Setup = pickle.load(source)
    except EOFError:
        return
    run(source, Producer(dict(setup["properties"])), setup)


if __name__ == "__main__":
    main()
