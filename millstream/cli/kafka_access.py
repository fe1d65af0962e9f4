"""What commands and services ask Kafka before they begin: whether it lets them in, and what they may do."""

import threading
import time
from collections.abc import Iterable, Sequence

import structlog
from confluent_kafka import KafkaException

from millstream.cli.failure import Failure
from millstream.consumers.sink.sources import BY_TABLE
from millstream.line_rate import LineRate
from millstream.rights.check import RightsMissing, missing_rights, vital
from millstream.rights.connection import check_connection
from millstream.rights.table import Names, Right, Role, rights
from millstream.schemas import KafkaConnection
from millstream.schemas.denial import RIGHTS
from millstream.schemas.topics import HANDOVER_GROUP, OVERFLOW_GROUP
from millstream.settings import Settings

log = structlog.get_logger(__name__)

COMMAND_WITHIN_S = 10.0
"""How long a command waits for a broker's answer, in seconds."""

WAITING_LINES_S = 60.0
"""The shortest time between two lines of a service that waits, in seconds."""


def accepted_connection(settings: Settings) -> KafkaConnection:
    """The connection for a command, whose clients log nothing, once a broker has let the user in. Raises
    `ConnectionRejected`, and `Failure` when no broker answers: the command would wait for longer, and know less."""
    connection = settings.connection.quiet
    if not check_connection(connection, COMMAND_WITHIN_S):
        raise Failure(
            f"Kafka: no broker at {connection.bootstrap} answers",
            "`millstream up` starts one, MILLSTREAM_KAFKA__BOOTSTRAP says where one is; `millstream doctor` checks it",
            code=3,
        )
    return connection


def wait_for_brokers(settings: Settings, stop: threading.Event) -> bool:
    """Wait until a broker answers; False when `stop` was set first. Raises `ConnectionRejected`."""
    began, lines = time.monotonic(), LineRate(WAITING_LINES_S)
    while not check_connection(settings.connection.quiet):
        if stop.is_set():
            return False
        if lines.admit("brokers_unavailable") is not None:
            log.warning(
                "brokers_unavailable",
                bootstrap=settings.kafka.bootstrap,
                for_s=round(time.monotonic() - began),
                action="trying again",
            )
    return True


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
