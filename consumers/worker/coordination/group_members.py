"""Which workers are members of their consumer groups, asked of Kafka by a process of its own.

librdkafka's admin requests to a group's coordinator can end the process when that coordinator goes away while they
wait; this is asked when something has just failed.
"""

import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from millstream.line_rate import LineRate
from millstream.schemas import KafkaConnection
from millstream.schemas.connection import for_another_process
from millstream.schemas.oauth import same_modules

log = structlog.get_logger(__name__)

ANSWER_WITHIN_S = 10.0
LINES_S = 60.0
"""The shortest time between two lines in the log, in seconds: while no broker answers this is asked again and again."""

NO_SUCH_GROUP = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.INVALID_GROUP_ID)

_lines = LineRate(LINES_S)


def group_members(connection: KafkaConnection, groups: Sequence[str]) -> Counter[str] | None:
    """The client ids of the members of these groups, each with the most members that one group has of it; None when
    that cannot be found out now, or when Kafka knows none of the groups: the request that is made finds no group of the
    protocol `consumer` (KIP-848). Blocks."""
    question = pickle.dumps((for_another_process(connection.quiet.client()), list(groups)))
    try:
        asked = subprocess.run(
            [sys.executable, "-m", __name__],
            input=question,
            env=same_modules(),
            capture_output=True,
            timeout=30,
            check=True,
        )
        return Counter(json.loads(asked.stdout)) or None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        left_out = _lines.admit("group_members_unknown")
        if left_out is not None:
            log.warning("group_members_unknown", reason=_reason(error)[:200], left_out=left_out)
        return None


def _reason(error: Exception) -> str:
    """The last line of a process that ended with an error, else the error."""
    if isinstance(error, subprocess.CalledProcessError):
        said: bytes = error.stderr
        return (said.decode(errors="replace").strip().splitlines() or [f"exit code {error.returncode}"])[-1]
    return str(error)


def _ask() -> None:
    client, groups = pickle.load(sys.stdin.buffer)
    admin = AdminClient(client)
    members: Counter[str] = Counter()
    for future in admin.describe_consumer_groups(groups, request_timeout=ANSWER_WITHIN_S).values():
        try:
            members |= Counter(each.client_id for each in future.result(ANSWER_WITHIN_S + 1).members)
        except KafkaException as error:
            # Heartbeats may name groups that there are not.
            if error.args[0].code() not in NO_SUCH_GROUP:
                raise
    json.dump(members, sys.stdout)


if __name__ == "__main__":
    try:
        _ask()
    except KafkaException as error:
        sys.exit(error.args[0].str())
