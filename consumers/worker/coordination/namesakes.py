"""Tells whether another process has the same worker id: two of them would end each other's transactions for ever.

The process that started first keeps the id. What the other one is, it says itself in its heartbeats; that it works in
the same groups must be confirmed by Kafka, so that a made-up heartbeat ends no worker. Pure.
"""

from dataclasses import dataclass

from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess

HEARD = 2
"""Heartbeats after which another process counts as running: one may have been on its way when the process died."""


@dataclass(slots=True)
class _Heard:
    process: WorkerProcess
    heartbeats: int = 0


class Namesakes:
    """The other processes with this worker's id. Not thread-safe.

    `live`: from when on a heartbeat that arrives was sent after this worker started; before that, those of the last
    seconds are read, and one of them says no more than that its process may be running.
    """

    def __init__(self, own: WorkerProcess) -> None:
        self._own = own
        self._heard: dict[str, _Heard] = {}
        self.live = False

    def __len__(self) -> int:
        return len(self._heard)

    def receive(self, process: WorkerProcess, ended: bool) -> None:
        """Take a heartbeat with this worker's id. `ended`: the last one of its process."""
        if process.incarnation == self._own.incarnation:
            return
        if ended:
            self._heard.pop(process.incarnation, None)
            return
        heard = self._heard.setdefault(process.incarnation, _Heard(process))
        heard.heartbeats += self.live
        while len(self._heard) > HEARD:
            del self._heard[next(iter(self._heard))]

    def forget(self) -> None:
        """Count anew: what was heard has been looked into."""
        self._heard.clear()

    @property
    def any_heard(self) -> bool:
        """Whether another process may be running."""
        return bool(self._heard)

    def owner(self) -> WorkerProcess | None:
        """The other process, when it runs and started before this one."""
        for heard in self._heard.values():
            if heard.heartbeats >= HEARD and heard.process.incarnation < self._own.incarnation:
                return heard.process
        return None
