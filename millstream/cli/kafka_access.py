"""What commands and services ask Kafka before they begin: whether it lets them in, and what they may do."""

from collections.abc import Iterable, Sequence

import structlog
from confluent_kafka import KafkaException

from millstream.consumers.sink.sources import BY_TABLE
from millstream.rights.check import RightsMissing, missing_rights, vital
from millstream.rights.connection import check_connection
from millstream.rights.table import Names, Right, Role, rights
from millstream.schemas import KafkaConnection
from millstream.schemas.denial import RIGHTS
from millstream.schemas.topics import HANDOVER_GROUP, OVERFLOW_GROUP
from millstream.settings import Settings

log = structlog.get_logger(__name__)


def accepted_connection(settings: Settings) -> KafkaConnection:
    """The connection for a command, whose clients log nothing, once a broker has let the user in; also when none
    answers. Raises `ConnectionRejected`."""
    connection = settings.connection.quiet
    check_connection(connection)
    return connection


def check_service(settings: Settings, role: Role, lanes: Sequence[str] = ()) -> None:
    """Before a service starts: whether the brokers let it in and it has its rights. A right that is missing is logged,
    with what does not work without it. Nothing is asked on a connection that is not secured, nor waited for while no
    broker answers.

    Raises `ConnectionRejected`, and `RightsMissing` when the service could do nothing at all.
    """
    connection = settings.connection
    if not connection.secured or not check_connection(connection):
        return
    wanted = wanted_rights(settings, [role], lanes)
    try:
        missing = missing_rights(connection, wanted, groups(settings, lanes), topics(settings))
    except KafkaException as error:
        log.warning("rights_unknown", reason=error.args[0].str(), action="starting without knowing them")
        return
    if hopeless := vital(missing, wanted):
        raise RightsMissing(connection.user, hopeless)
    for each in missing:
        log.error(
            "right_missing",
            user=connection.user,
            operation=each.operation,
            resource=each.resource,
            consequence=each.row.without,
            see=RIGHTS,
        )


def wanted_rights(settings: Settings, roles: Iterable[Role], lanes: Sequence[str] = ()) -> list[Right]:
    """The rights of these roles under the configured names. `lanes`: those of a worker, all of them if empty."""
    names = Names(settings.catalogue, tuple(lanes) or settings.topics.lanes, settings.worker.group, settings.sink.group)
    return rights(roles, names)


def groups(settings: Settings, lanes: Sequence[str] = ()) -> list[str]:
    """The consumer groups of workers of these lanes, all of them if empty, and of the sinks."""
    workers = [*(tuple(lanes) or settings.topics.lanes), OVERFLOW_GROUP, f"{HANDOVER_GROUP}0"]
    return [
        *(f"{settings.worker.group}.{name}" for name in workers),
        *(source.group(settings.sink.group) for source in BY_TABLE.values()),
    ]


def topics(settings: Settings) -> list[str]:
    """The names of all topics."""
    return [each.name for each in settings.catalogue]
