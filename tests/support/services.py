"""Every service beside the workers in processes of their own, and what each of them costs."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from millstream.analytics import connect, migrate
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.ports import free_port
from millstream.schemas import TopicCatalogue
from tests.support.running_sink import sink_process
from tests.support.running_tracker import RunningTracker

MEMORY_INTERVAL_S = 1.0
DATABASE = "millstream"


class Services:
    """ClickHouse with this release's tables, a sink and a tracker, from entering to leaving."""

    def __init__(self, bootstrap: str, topics: TopicCatalogue, folder: Path) -> None:
        self.clickhouse = EmbeddedClickHouse(folder / "clickhouse")
        self._bootstrap, self._topics, self._folder = bootstrap, topics, folder
        self._health_port = free_port()

    def __enter__(self) -> Self:
        self.clickhouse.start()
        self.client = connect(self.clickhouse.url, database=DATABASE, password=self.clickhouse.password)
        migrate(self.client, DATABASE)
        self.sink = sink_process(
            self._bootstrap,
            self._topics,
            self.clickhouse.url,
            self._folder,
            log=self._folder / "sink.log",
            MILLSTREAM_CLICKHOUSE__DATABASE=DATABASE,
            MILLSTREAM_CLICKHOUSE__PASSWORD=self.clickhouse.password,
            MILLSTREAM_SINK__HEALTH_PORT=str(self._health_port),
        )
        self.sink.start()
        self.tracker = RunningTracker(self._bootstrap, self._topics, self._folder)
        self.tracker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tracker.process.stop(20)
        self.sink.stop(20)
        self.clickhouse.stop()

    def pids(self) -> dict[str, int]:
        """The processes by their services; fails for one that has ended."""
        assert self.tracker.process.is_alive(), self.tracker.process.tail
        assert self.sink.is_alive(), self.sink.tail
        assert self.clickhouse.is_alive()
        return {"tracker": self.tracker.process.pid, "sink": self.sink.pid, "clickhouse": self.clickhouse.pid}

    def sink_metric(self, name: str) -> dict[str, float]:
        """A metric of the sink by topic, without the prefix of the topics."""
        assert self.sink.is_alive(), self.sink.tail
        page = httpx.get(f"http://127.0.0.1:{self._health_port}/metrics", timeout=10).text
        return {
            sample.labels["topic"].removeprefix(self._topics.prefix): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
        }


class MemoryPeaks:
    """The most resident memory that processes had, each with its children, in MB. Looks once a second, from entering to
    leaving."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.peaks_mb = dict.fromkeys(pids, 0)
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(MEMORY_INTERVAL_S):
            for name, pid in self._pids.items():
                self.peaks_mb[name] = max(self.peaks_mb[name], _resident_mb(pid))


def _resident_mb(pid: int) -> int:
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total // 2**20
