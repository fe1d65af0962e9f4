"""Asks a broker whether topics can be written, or read: a topic may be missing, or the right to it."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import cached_property

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from millstream.consumers.threads import ThreadPool
from millstream.schemas import KafkaConnection
from millstream.schemas.denial import RIGHTS, no_right

ANSWER_WITHIN_S = 2.0
Unusable = dict[str, str] | None
"""The topics that cannot be used, with the cause; None when no broker says."""


class TopicAccess:
    """What a broker says about topics, asked on a thread of its own. Used by one thread."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._thread = ThreadPool(1, "millstream-topic-access")

    def ask(self, topics: Iterable[str], operation: AclOperation = AclOperation.WRITE) -> "Future[Unusable]":
        """Start to ask of which of these the operation is not possible; returns at once."""
        names = sorted(set(topics))
        return self._thread.call(lambda: self._ask(names, operation) if names else {})

    def _ask(self, names: Sequence[str], operation: AclOperation) -> Unusable:
        try:
            # An admin request that waits while its broker goes away can end the process, so ask for metadata first.
            self._admin.list_topics(timeout=ANSWER_WITHIN_S)
            answers = self._admin.describe_topics(
                TopicCollection(list(names)), include_authorized_operations=True, request_timeout=ANSWER_WITHIN_S
            )
        except KafkaException:
            return None
        found: dict[str, str] = {}
        for topic, answer in answers.items():
            try:
                operations = answer.result(2 * ANSWER_WITHIN_S).authorized_operations
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    found[topic] = self._no_right(operation, topic)
                elif cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    found[topic] = cause.str()
                else:
                    return None
            except TimeoutError:
                return None
            else:
                # Not every broker says what a client may do.
                if operations and operation not in operations:
                    found[topic] = self._no_right(operation, topic)
        return found

    def _no_right(self, operation: AclOperation, topic: str) -> str:
        return f"{no_right(self._connection.user, operation.name.capitalize(), f'topic {topic}')}; {RIGHTS}"

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient(self._connection.quiet.client())
