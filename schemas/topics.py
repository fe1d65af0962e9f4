"""The topic catalogue: every topic of Millstream with its key, partitions, retention and cleanup policy."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

DELAY_TIERS = ("1s", "10s", "1m", "10m", "1h", "1d")
"""Tiers of the timing wheel, shortest first."""

MAX_RECORD_BYTES = 3 * 1024 * 1024
"""Room for the largest payload, its envelope, and the dead letter that carries both."""

OVERFLOW_SUFFIX = ".overflow"
"""What the name of a lane's overflow topic ends with, and the name of a lane in events of jobs from it."""

OVERFLOW_GROUP = "overflow"
HANDOVER_GROUP = "handover-"
"""How the names of the workers' consumer groups that are not a lane's go on after `<worker.group>.`."""

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """The desired state of one topic. `name` includes the prefix; `retention_ms` is None for unlimited retention."""

    name: str
    record: str
    key: str
    purpose: str
    partitions: int
    retention_ms: int | None
    cleanup: Literal["delete", "compact"] = "delete"

    @property
    def config(self) -> dict[str, str]:
        """The broker-side settings that Millstream relies on, whatever the broker's defaults are."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": "-1" if self.retention_ms is None else str(self.retention_ms),
            "max.message.bytes": str(MAX_RECORD_BYTES),
            # Retention counts from the broker's clock: with a producer's, a slow clock deletes jobs before they run.
            "message.timestamp.type": "LogAppendTime",
            # A replica that lacks acknowledged records does not become the leader.
            "unclean.leader.election.enable": "false",
        }

    @staticmethod
    def min_insync_replicas(replicas: int) -> int:
        """How many replicas must have a record before it is acknowledged, of a topic with so many: of three or more,
        any one may then be lost. With fewer, a higher number would stop all writes when one broker is down."""
        return 2 if replicas >= 3 else 1


class InvalidLanes(ValueError):
    """Lanes that cannot exist beside each other or beside the other topics and consumer groups."""


class TopicCatalogue:
    """The names of all topics; iterating yields each with its settings. Raises `InvalidLanes` when it is made."""

    def __init__(
        self,
        prefix: str = "millstream.",
        lanes: Sequence[str] = ("high", "default", "bulk"),
        partitions: int = 8,
        retention_days: float = 7,
    ) -> None:
        self.prefix = prefix
        self.lanes = tuple(lanes)
        self._partitions = partitions
        self._retention_ms = int(retention_days * DAY_MS)
        self._check_lanes()

    @property
    def retention_s(self) -> float:
        """How long a lane keeps a request, in seconds."""
        return self._retention_ms / 1000

    def lane(self, lane: str) -> str:
        return f"{self.prefix}jobs.{lane}"

    def overflow(self, lane: str) -> str:
        return f"{self.prefix}jobs.{lane}{OVERFLOW_SUFFIX}"

    def delay(self, tier: str) -> str:
        return f"{self.prefix}jobs.delay.{tier}"

    @property
    def events(self) -> str:
        return f"{self.prefix}jobs.events"

    @property
    def heartbeats(self) -> str:
        return f"{self.prefix}jobs.heartbeats"

    @property
    def commands(self) -> str:
        return f"{self.prefix}jobs.commands"

    @property
    def dead(self) -> str:
        return f"{self.prefix}jobs.dead"

    @property
    def states(self) -> str:
        return f"{self.prefix}jobs.states"

    @property
    def alerts(self) -> str:
        return f"{self.prefix}jobs.alerts"

    @property
    def changes(self) -> str:
        return f"{self.prefix}jobs.changes"

    def __iter__(self) -> Iterator[Topic]:
        wide, days = self._partitions, self._retention_ms
        for lane in self.lanes:
            yield Topic(self.lane(lane), "JobRequest", "ordering key or job id", "work to execute", wide, days)
            yield Topic(
                self.overflow(lane), "JobRequest", "tenant and number", "a tenant's excess over its share", wide, days
            )
        for tier in DELAY_TIERS:
            yield Topic(self.delay(tier), "JobRequest", "job id", f"jobs due in {tier} or more", wide, None)
        yield Topic(self.events, "JobEvent", "job id", "the life of every attempt", wide, days)
        yield Topic(self.heartbeats, "Heartbeat", "worker id", "the state of each worker, once a second", 1, DAY_MS)
        yield Topic(self.commands, "Command", "scope, target and kind", "commands to the workers", 1, None, "compact")
        yield Topic(
            self.dead, "DeadLetter", "job id", "records that could not be processed, with the cause", wide, 4 * days
        )
        # The tracker co-partitions its table with the events, so both have the same number of partitions.
        yield Topic(self.states, "JobState", "job id", "current state of each job", wide, None, "compact")
        yield Topic(self.alerts, "Alert", "fingerprint", "conditions that need attention", 1, 4 * days)
        yield Topic(self.changes, "Change", "service", "deploys and configuration changes", 1, None)

    def _check_lanes(self) -> None:
        topics = Counter(topic.name for topic in self)
        for lane in self.lanes:
            if lane == OVERFLOW_GROUP or lane.startswith(HANDOVER_GROUP):
                raise InvalidLanes(f"a lane cannot be called {lane!r}: the workers have a consumer group of that name")
            for topic in (self.lane(lane), self.overflow(lane)):
                if topics[topic] > 1:
                    raise InvalidLanes(f"the lane {lane!r} would share the topic {topic} with something else")
