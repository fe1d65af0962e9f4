"""A tracker of a test, in a process of its own."""

import os
import sys
from pathlib import Path
from typing import Any

import httpx

from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.schemas import State, TopicCatalogue
from millstream.streams.app import EXIT_STALLED
from tests.support.paths import ROOT
from tests.support.waiting import eventually


class RunningTracker:
    """`millstream tracker` as a process of its own."""

    def __init__(
        self,
        bootstrap: str,
        topics: TopicCatalogue,
        folder: Path,
        *,
        program: str = "millstream",
        release: Path = ROOT,
        **settings: str,
    ) -> None:
        self.port = free_port()
        token = settings.get("MILLSTREAM_TRACKER__TOKEN", "")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._folder = folder
        self._command = [sys.executable, "-m", program, "tracker"]
        self._environment = {
            **os.environ,
            "MILLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
            "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
            "MILLSTREAM_TOPICS__PARTITIONS": "4",
            "MILLSTREAM_TRACKER__PORT": str(self.port),
            **settings,
        }
        self.process = self._of(release)

    def __enter__(self) -> "RunningTracker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop(20)

    def start(self) -> None:
        self.process.start()
        eventually(self._health, lambda health: health == "200", within_s=240)

    def replace(self, release: Path) -> None:
        """Stop the tracker, and start that of the release in this folder."""
        assert self.process.stop(60) == 0, self.process.tail
        self.process = self._of(release)
        self.start()

    def _of(self, release: Path) -> ChildProcess:
        return ChildProcess(self._command, cwd=self._folder, env=self._environment | {"PYTHONPATH": str(release)})

    def _health(self) -> str:
        """The status of `/health`; when it is not well, with what it says and what the process has written. A tracker
        that has found itself stalled is started again, as its supervisor does."""
        if not self.process.is_alive() and self.process.returncode == EXIT_STALLED:
            self.process.start()
        answer = self.get("/health")
        if answer is None:
            return self.process.tail
        return "200" if answer.status_code == 200 else f"{answer.status_code} {answer.text}\n{self.process.tail}"

    def get(self, path: str) -> httpx.Response | None:
        assert self.process.is_alive(), self.process.tail
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=self._headers, timeout=5)
        except httpx.HTTPError:
            return None

    def json(self, path: str) -> dict[str, Any]:
        answer = self.get(path)
        return answer.json() if answer is not None else {}

    def finished(self) -> int:
        states = self.json("/counts").get("states", {})
        return sum(states.get(state.value, 0) for state in State if state.terminal)
