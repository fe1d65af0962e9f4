"""The rights of a consumer that Kafka refuses while it runs: told by name, told again, and asked about until they are
back. A client tells of a topic that it must not read once only."""

import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation

from millstream.consumers.kafka.topic_access import TopicAccess, Unusable
from millstream.schemas import KafkaConnection
from millstream.schemas.denial import RIGHTS, no_right

log = structlog.get_logger(__name__)

ASK_INTERVAL_S = 5.0
TELL_INTERVAL_S = 60.0


class DeniedRights:
    """What is refused now. Not thread-safe."""

    def __init__(
        self,
        connection: KafkaConnection,
        access: TopicAccess | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._user = connection.user
        self._access = access or TopicAccess(connection)
        self._clock = clock
        self._topics: set[str] = set()
        self._groups: set[str] = set()
        self._told: dict[str, float] = {}
        self._asked: Future[Unusable] | None = None
        self._ask_at = 0.0

    @property
    def problems(self) -> list[str]:
        """A sentence for each right that is missing."""
        return [no_right(self._user, "Read", each) for each in self._resources]

    def note(self, error: KafkaError, topic: str | None, group: str) -> bool:
        """Note an error of a consumer that reads `topic` as a member of `group`; empty for one that is no member.
        Returns whether a right is missing, so that the error is told."""
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and topic:
            self._topics.add(topic)
        elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            # A client asks for its group in any case, also when it needs none.
            if group:
                self._groups.add(group)
        else:
            return False
        self._tell()
        return True

    def refuses_group(self, group: str) -> bool:
        """Whether the group does not let its member in."""
        return group in self._groups

    def refuses_topic(self, topic: str) -> bool:
        """Whether the topic must not be read."""
        return topic in self._topics

    def group_joined(self, group: str) -> None:
        """The group has let its member in."""
        self._came_back(self._groups, {group} & self._groups, "group")

    def run_once(self) -> None:
        """Tell again what is still refused, and find out what is not. Does not block."""
        if not (self._topics or self._groups):
            return
        self._tell()
        if self._asked is not None and self._asked.done():
            refused = self._asked.result()
            self._asked = None
            if refused is not None:
                self._came_back(self._topics, self._topics - refused.keys(), "topic")
        now = self._clock()
        if self._topics and self._asked is None and now >= self._ask_at:
            self._ask_at = now + ASK_INTERVAL_S
            self._asked = self._access.ask(self._topics, AclOperation.READ)

    @property
    def _resources(self) -> list[str]:
        return [
            *(f"topic {each}" for each in sorted(self._topics)),
            *(f"group {each}" for each in sorted(self._groups)),
        ]

    def _tell(self) -> None:
        now = self._clock()
        for resource in self._resources:
            if now - self._told.get(resource, float("-inf")) >= TELL_INTERVAL_S:
                self._told[resource] = now
                log.error(
                    "right_missing",
                    user=self._user,
                    operation="Read",
                    resource=resource,
                    consequence="nothing is read from it; everything else goes on",
                    see=RIGHTS,
                )

    def _came_back(self, refused: set[str], names: set[str], kind: str) -> None:
        refused -= names
        for name in names:
            self._told.pop(f"{kind} {name}", None)
            log.info("right_back", user=self._user, operation="Read", resource=f"{kind} {name}")
