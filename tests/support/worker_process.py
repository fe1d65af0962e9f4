"""`millstream worker` of a test, in a process of its own."""

import os
import sys
from pathlib import Path

from millstream.local.process import ChildProcess
from millstream.schemas import TopicCatalogue
from tests.support.paths import ROOT


def worker_process(
    bootstrap: str,
    topics: TopicCatalogue,
    folder: Path,
    handlers: str,
    name: str,
    *arguments: str,
    release: Path = ROOT,
    log: Path | None = None,
    **settings: str,
) -> ChildProcess:
    """A worker of the release in this folder, not started yet. `log`: the file that its lines are added to."""
    return ChildProcess(
        [sys.executable, "-m", "millstream", "worker", handlers, "--name", name, *arguments],
        cwd=folder,
        log=log,
        env={
            **os.environ,
            "PYTHONPATH": str(release),
            "MILLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
            "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
            "MILLSTREAM_WORKER__GROUP": f"{topics.prefix}workers",
            **settings,
        },
    )
