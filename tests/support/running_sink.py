"""A sink of a test, in a process of its own or in a thread."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from millstream.consumers.sink import Sink
from millstream.local.process import ChildProcess
from millstream.schemas import TopicCatalogue
from tests.support.paths import ROOT


@contextmanager
def running(sink: Sink) -> Iterator[Sink]:
    """The sink, which runs in a thread from entering to leaving."""
    stop = threading.Event()
    thread = threading.Thread(target=sink.run, args=(stop,))
    thread.start()
    try:
        yield sink
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def sink_process(
    bootstrap: str,
    topics: TopicCatalogue,
    clickhouse_url: str,
    folder: Path,
    *,
    release: Path = ROOT,
    log: Path | None = None,
    program: Sequence[str] = ("-m", "millstream"),
    **settings: str,
) -> ChildProcess:
    """`millstream sink` of the release in this folder, not started yet. `log`: the file that its lines are added to.
    `program`: how the interpreter starts the command."""
    return ChildProcess(
        [sys.executable, *program, "sink"],
        cwd=folder,
        log=log,
        env={
            **os.environ,
            "PYTHONPATH": str(release),
            "MILLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
            "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
            "MILLSTREAM_TOPICS__PARTITIONS": "4",
            "MILLSTREAM_CLICKHOUSE__URL": clickhouse_url,
            **settings,
        },
    )
