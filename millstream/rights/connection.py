"""Whether the brokers let the configured user in: said at once, where Kafka's clients try again for ever."""

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from millstream.schemas import KafkaConnection
from millstream.schemas.denial import rejection

ANSWER_WITHIN_S = 3.0
ASK_S = 0.25
OTHERS_WITHIN_S = 1.0
"""How long another broker may take to let the user in after one has rejected it."""


class ConnectionRejected(RuntimeError):
    """The brokers do not let this user in, or are not those that it trusts; the text says why."""


def check_connection(connection: KafkaConnection, within_s: float = ANSWER_WITHIN_S) -> bool:
    """Whether a broker has let the user in within this time; False when none has answered. Raises
    `ConnectionRejected`, and `KafkaException` when the settings make no client."""
    reasons: list[str] = []
    errors: set[int] = set()

    def on_error(error: KafkaError) -> None:
        errors.add(error.code())
        if reason := rejection(error):
            reasons.append(reason)

    admin = AdminClient(connection.quiet.client() | {"error_cb": on_error})
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            # Of a topic that nobody has: the answer holds all that it is asked about.
            admin.list_topics(".", ASK_S)
            return True
        except KafkaException as error:
            if error.args[0].code() == KafkaError._INVALID_ARG:
                raise
        admin.poll(0)
        if reasons:
            deadline = min(deadline, time.monotonic() + OTHERS_WITHIN_S)
            if time.monotonic() + ASK_S >= deadline:
                break
    if errors == {KafkaError._ALL_BROKERS_DOWN}:
        # They accept connections, and none is of use.
        protocol = connection.options.get("security.protocol", "PLAINTEXT")
        reasons.append(f"they close each connection; is security.protocol={protocol} what this port speaks?")
    if reasons:
        whom = f" as user {connection.user!r}" if connection.user else ""
        raise ConnectionRejected(
            f"the brokers at {connection.bootstrap} do not accept this client{whom}: {reasons[-1]}"
        )
    return False
