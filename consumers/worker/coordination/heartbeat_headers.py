"""What the headers of a heartbeat say about the process that sends it.

Whoever watches a thousand workers reads the key and the headers, a few microseconds each, and decodes no body.
"""

from dataclasses import dataclass
from typing import Self

from confluent_kafka import Message

INCARNATION = "incarnation"
HOST = "host"
PID = "pid"
GROUPS = "groups"

MOST_GROUPS = 100
"""Groups of one worker that are believed."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """The process of a worker.

    `incarnation`: an id of this process alone; of two that have the same worker id, the one that started later has the
    greater one. Empty for a worker of the release before, which says nothing of what follows either. `groups`: the
    consumer groups that it joins.
    """

    worker_id: str
    incarnation: str = ""
    host: str = ""
    pid: int = 0
    groups: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it runs, for people."""
        return f"process {self.pid or '?'} on host {self.host or '?'}"

    def headers(self) -> dict[str, bytes]:
        """The headers that name it; its worker id is the key of the record."""
        fields = {INCARNATION: self.incarnation, HOST: self.host, PID: str(self.pid), GROUPS: ",".join(self.groups)}
        return {name: text.encode() for name, text in fields.items()}

    @classmethod
    def of(cls, worker_id: str, headers: dict[str, bytes]) -> Self:
        """The process that headers name. Anybody may have written them: what makes no sense counts as empty."""
        text = {name: value.decode(errors="replace") for name, value in headers.items()}
        pid = text.get(PID, "")
        groups = tuple(filter(None, text.get(GROUPS, "").split(",")))
        return cls(
            worker_id,
            text.get(INCARNATION, ""),
            text.get(HOST, ""),
            int(pid) if pid.isdecimal() and len(pid) < 10 else 0,
            groups[:MOST_GROUPS],
        )


def headers_of(message: Message) -> dict[str, bytes]:
    """The headers of a record by name."""
    found = message.headers() or ()
    pairs = found.items() if isinstance(found, dict) else found
    return {name: value if isinstance(value, bytes) else b"" for name, value in pairs}
