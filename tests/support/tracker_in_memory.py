"""A tracker on a table in memory, and the records that it reads."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from millstream.schemas import Codec, EventKind, JobEvent
from millstream.schemas.ids import new_id
from millstream.streams.state_table import Change, StateStore, StateTable
from millstream.streams.tracker import Tracker

CODEC = Codec()
NOW = datetime.now(UTC)


class Table:
    """Faust's table without Kafka: every change of the changelog, acknowledged at once."""

    def __init__(self) -> None:
        self.states = StateStore("memory://", cast(Any, None), cast(Any, SimpleNamespace(name="states")))
        self.changelog: list[Change] = []

    async def write_changes(self, changes: Sequence[Change]) -> None:
        self.changelog += changes

    def read(self, records: Iterable[tuple[int, bytes, bytes | None]]) -> None:
        """Read records of the changelog, as at a start."""
        events = [
            SimpleNamespace(key=key, value=value, message=SimpleNamespace(partition=partition, value=value))
            for partition, key, value in records
        ]
        self.states.apply_changelog_batch(events, lambda key: key, lambda value: value)


class Placement:
    """Every key belongs to one partition, which a test may change."""

    def __init__(self, belongs: int = 0, owned: tuple[int, ...] = (0, 1)) -> None:
        self.belongs = belongs
        self.assigned = set(owned)

    def partition(self, key: bytes) -> int:
        return self.belongs

    def owned(self) -> set[int]:
        return self.assigned


def tracker_of(table: Table, placement: Placement | None = None, retention_s: float = 60.0) -> Tracker:
    return Tracker(cast(StateTable, table), placement or Placement(), CODEC, retention_s)


def event(job_id: str, kind: EventKind, at: datetime = NOW) -> bytes:
    final = kind is EventKind.SUCCEEDED
    return CODEC.encode(
        JobEvent(
            kind=kind,
            job_id=job_id,
            tenant="acme",
            job_type="a",
            lane="default",
            submitted_at=at,
            occurred_at=at,
            attempt=1,
            execution_id=new_id(),
            started_at=at,
            final=final,
        )
    )


def message(value: bytes, partition: int = 0, offset: int = 0) -> SimpleNamespace:
    appended = {"timestamp": time.time(), "timestamp_type": 1}
    return SimpleNamespace(topic="events", partition=partition, offset=offset, value=value, **appended)
