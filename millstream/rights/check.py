"""Which rights the configured user lacks, as the brokers say.

Brokers tell what a client may do with a topic and with a group. They do not tell it of transactional ids and of the
cluster: there a client is refused when it tries.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from millstream.rights.table import Right
from millstream.schemas import KafkaConnection
from millstream.schemas.denial import DENIED, RIGHTS, no_right

ANSWER_WITHIN_S = 5.0
OPERATIONS: Mapping[str, AclOperation] = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "Create": AclOperation.CREATE,
    "Alter": AclOperation.ALTER,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}

Allowed = Mapping[str, frozenset[AclOperation] | None]
"""By resource: what the user may do; None where the brokers do not tell."""


class RightsMissing(RuntimeError):
    """The configured user lacks rights without which a service can do nothing; the text names all of them."""

    def __init__(self, user: str, missing: Sequence[Right]) -> None:
        super().__init__("\n".join(f"{told(user, each)}: {each.row.without}" for each in missing) + f"\n{RIGHTS}")
        self.missing = missing


def told(user: str, right: Right) -> str:
    """That the user lacks a right, as a sentence."""
    return no_right(user, right.operation, right.resource)


def missing_rights(
    connection: KafkaConnection, wanted: Sequence[Right], groups: Iterable[str] = (), topics: Iterable[str] = ()
) -> list[Right]:
    """Those of the wanted rights that the user lacks, as far as the brokers tell. Blocks for some seconds at most.
    `groups` and `topics`: names that stand for those that only begin as a right says. Raises `KafkaException` when no
    broker answers."""
    topics_of = _resources(wanted, "topic", topics)
    groups_of = _resources(wanted, "group", groups)
    admin = AdminClient(connection.quiet.client())
    # An admin request that waits while its broker goes away can end the process, so ask for metadata first.
    admin.list_topics(".", ANSWER_WITHIN_S)
    allowed = {
        **{
            ("topic", name): found
            for name, found in _of_topics(admin, {n for s in topics_of.values() for n in s}).items()
        },
        **{
            ("group", name): found
            for name, found in _of_groups(admin, {n for s in groups_of.values() for n in s}).items()
        },
    }
    lacking = []
    for right in wanted:
        for name in (topics_of | groups_of).get(right, ()):
            operations = allowed.get((right.row.kind, name))
            if operations is not None and OPERATIONS[right.operation] not in operations:
                lacking.append(right)
                break
    return lacking


def vital(missing: Sequence[Right], wanted: Sequence[Right]) -> list[Right]:
    """Those of the missing rights without which a service can do nothing: a vital row lacks all that it stands for."""
    rows = {each.row for each in missing if each.row.vital}
    left = {(each.row, each.operation) for each in wanted if each not in missing}
    return [each for each in missing if each.row in rows and (each.row, each.operation) not in left]


def _resources(wanted: Iterable[Right], kind: str, names: Iterable[str]) -> dict[Right, list[str]]:
    names = list(names)
    return {
        right: [right.name]
        if right.row.pattern == "literal"
        else [each for each in names if each.startswith(right.name)]
        for right in wanted
        if right.row.kind == kind
    }


def _of_topics(admin: AdminClient, names: Iterable[str]) -> Allowed:
    if not (asked := sorted(names)):
        return {}
    answers = admin.describe_topics(
        TopicCollection(asked), include_authorized_operations=True, request_timeout=ANSWER_WITHIN_S
    )
    return dict(_allowed(answers))


def _of_groups(admin: AdminClient, names: Iterable[str]) -> Allowed:
    if not (asked := sorted(names)):
        return {}
    answers = admin.describe_consumer_groups(asked, include_authorized_operations=True, request_timeout=ANSWER_WITHIN_S)
    return dict(_allowed(answers))


def _allowed(answers: Mapping[str, Future[Any]]) -> Iterator[tuple[str, frozenset[AclOperation] | None]]:
    for name, answer in answers.items():
        try:
            operations = answer.result(ANSWER_WITHIN_S + 1).authorized_operations
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            yield name, frozenset() if cause.code() in DENIED else None
        except TimeoutError:
            yield name, None
        else:
            # Not every broker says what a client may do.
            yield name, frozenset(operations) if operations else None
