"""A worker in a thread of the test's process."""

import threading
from typing import Any

from millstream.consumers.worker import Drained, JobTypes, Worker, WorkerConfig
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue


class RunningWorker:
    """Runs from entering, when it has its partitions, to leaving."""

    def __init__(
        self,
        bootstrap: str,
        topics: TopicCatalogue,
        jobs: JobTypes,
        name: str = "w1",
        *,
        codec: Codec | None = None,
        **config: Any,
    ) -> None:
        settings = WorkerConfig.model_validate({"worker_id": name, "group": f"{topics.prefix}workers", **config})
        self.worker = Worker(KafkaConnection(bootstrap), topics, settings, jobs, codec)
        self.drained: Drained | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.drained = self.worker.run()

    def start(self) -> None:
        """Start without waiting for partitions."""
        self._thread.start()

    def __enter__(self) -> "RunningWorker":
        self.start()
        assert self.worker.status.ready.wait(60)
        return self

    def stop(self) -> Drained | None:
        self.worker.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.drained

    def __exit__(self, *_: object) -> None:
        self.stop()
