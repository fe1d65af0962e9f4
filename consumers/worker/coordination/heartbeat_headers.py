"""What the headers of a heartbeat say about the process that sends it.

Whoever watches a thousand workers reads the key and the headers, a few microseconds each, and decodes no body.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Self

from confluent_kafka import Message

from millstream.schemas import DecodeError

INCARNATION = "incarnation"
HOST = "host"
PID = "pid"
GROUPS = "groups"

MOST_GROUPS = 100
MOST_GROUPS_BYTES = 4_096
"""Groups of one worker that are believed."""

LONGEST_NAME = 255
"""Bytes of a worker's id, of an incarnation and of a transactional id: ten thousand made-up workers are remembered."""

_read_headers: Callable[[Message], Any] = methodcaller("headers")
"""For a header whose name is not UTF-8 the method returns a broken list with an exception set. Only a call that does
not come from bytecode is sure to raise it; whoever uses the list ends the process."""


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
        """The process that headers name. Anybody may have written them: what makes no sense counts as empty, and
        what is too long is cut. Raises `DecodeError` for an incarnation that none has."""
        if len(headers.get(INCARNATION, b"")) > LONGEST_NAME:
            raise DecodeError(f"an incarnation of {len(headers[INCARNATION]):,} bytes")
        text = {name: value[:MOST_GROUPS_BYTES].decode(errors="replace") for name, value in headers.items()}
        pid = text.get(PID, "")
        told = text.get(GROUPS, "").split(",")
        if len(headers.get(GROUPS, b"")) > MOST_GROUPS_BYTES:
            del told[-1]
        groups = tuple(filter(None, told))
        return cls(
            worker_id,
            text.get(INCARNATION, ""),
            text.get(HOST, "")[:LONGEST_NAME],
            int(pid) if pid.isdecimal() and len(pid) < 10 else 0,
            groups[:MOST_GROUPS],
        )


def headers_of(message: Message) -> dict[str, bytes]:
    """The headers of a record by name. Raises `DecodeError`."""
    try:
        found = _read_headers(message) or ()
    except (SystemError, UnicodeDecodeError) as error:
        raise DecodeError("a header's name is not UTF-8") from error
    pairs = found.items() if isinstance(found, dict) else found
    return {name: value if isinstance(value, bytes) else b"" for name, value in pairs}
