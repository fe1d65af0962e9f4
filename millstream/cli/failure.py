"""How a command ends when it cannot do what it was asked: a sentence, a hint and an exit code.

Exit codes: 0 done, 1 a check failed, 2 wrong input or settings, 3 a service is missing, 4 a worker's grace period ended
before its jobs did, 5 another worker has this one's name, 6 Kafka does not let the user in or refuses it a right.
"""

from dataclasses import dataclass
from typing import Any

REFUSED = 6
"""Exit code when Kafka does not let the user in, or refuses it a right."""


class Failure(Exception):
    """A command cannot do what it was asked. `hint` says how to go on; `code` is the exit code."""

    def __init__(self, text: str, hint: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.hint = hint
        self.code = code


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """What is printed for an exception of a class. `text` may use `{error}`."""

    code: int
    hint: str = ""
    text: str = "{error}"


RIGHTS_HINT = "docs/security.md lists the rights, `millstream acls` prints them"

CREDENTIALS_HINT = (
    "set MILLSTREAM_CLICKHOUSE__USER and MILLSTREAM_CLICKHOUSE__PASSWORD, or run this in the folder of `millstream up`"
)

RULES = {
    "millstream.extras.ExtraMissing": ErrorRule(2),
    "millstream.settings.InvalidSettings": ErrorRule(2, "`millstream config show` prints every setting"),
    "millstream.producers.request.InvalidJob": ErrorRule(2, "nothing was sent"),
    "millstream.producers.delivery.SubmitError": ErrorRule(3, "`millstream doctor` finds the cause"),
    "cimpl.KafkaException": ErrorRule(
        3, "`millstream doctor` finds the cause; `millstream up` starts a broker", "Kafka: {error}"
    ),
    "millstream.rights.connection.ConnectionRejected": ErrorRule(
        REFUSED, "check kafka.options, kafka.sasl_username and kafka.sasl_password; docs/security.md shows them"
    ),
    "millstream.rights.check.RightsMissing": ErrorRule(
        REFUSED, "`millstream acls --commands` prints what gives them; the service did not start"
    ),
    "aiokafka.errors.GroupAuthorizationFailedError": ErrorRule(
        REFUSED, RIGHTS_HINT, "Kafka refuses the right to Read group {error}"
    ),
    "aiokafka.errors.TopicAuthorizationFailedError": ErrorRule(
        REFUSED, RIGHTS_HINT, "Kafka refuses the right to Read topic {error}"
    ),
    "millstream.schemas.oauth.InvalidTokenFunction": ErrorRule(2),
    "millstream.schemas.registry.RegistryUnavailable": ErrorRule(
        3, "no record was lost: it is read again at the next start"
    ),
    "millstream.analytics.client.CredentialsRejected": ErrorRule(3, CREDENTIALS_HINT),
    "millstream.analytics.client.ClickHouseUnavailable": ErrorRule(
        3, "`millstream up` starts one; `millstream doctor` finds the cause"
    ),
    "clickhouse_connect.driver.exceptions.ClickHouseError": ErrorRule(3, text="ClickHouse: {error}"),
    "millstream.consumers.worker.loop_guard.TooManyStuckHandlers": ErrorRule(3, "the supervisor starts another worker"),
    "millstream.consumers.worker.worker.NameTaken": ErrorRule(5, "give each worker a --name of its own, or none"),
    "millstream.consumers.worker.first_start.CommitMissing": ErrorRule(2),
    "millstream.listening.UnprotectedListener": ErrorRule(2),
    "millstream.listening.PortTaken": ErrorRule(2, "choose another port, or 0 for none, or stop what listens there"),
    "millstream.streams.credentials.UnsupportedOption": ErrorRule(2),
    "millstream.local.broker.BrokerUnavailable": ErrorRule(2),
    "millstream.local.stack.StackRunning": ErrorRule(3),
    "millstream.local.process.DidNotStart": ErrorRule(3),
    "millstream.analytics.warehouse.migrate.MigrationError": ErrorRule(3),
    "millstream.analytics.warehouse.pause.InsertsGoOn": ErrorRule(3),
}
"""By the full name of the class: importing the classes would load the libraries of every service for each command, and
an exception can only come from a module that is already loaded. The first class in the MRO with a rule decides.
"""


def as_failure(error: Exception) -> Failure | None:
    """The failure to print for `error`; None for an exception that no rule covers, which is a bug."""
    if isinstance(error, Failure):
        return error
    if type(error).__module__ == "cimpl" and (refused := _refusal(error.args[0])):
        return refused
    for each in type(error).__mro__:
        rule = RULES.get(f"{each.__module__}.{each.__qualname__}")
        if rule:
            reason = _reason(error, each.__module__)
            return Failure(rule.text.format(error=reason), rule.hint, rule.code)
    return None


def _reason(error: Exception, module: str) -> str:
    if module == "cimpl":
        return str(error.args[0].str())
    if module == "clickhouse_connect.driver.exceptions":
        # Loads nothing new, as the error shows.
        from millstream.analytics.client import server_text

        return server_text(error)
    return str(error).strip()


def _refusal(error: Any) -> Failure | None:
    """The failure to print for an error of Kafka that a user's rights or settings cause."""
    # Loaded already, as the error shows.
    from confluent_kafka import KafkaError

    from millstream.schemas.denial import DENIED, REJECTED, RIGHTS

    if error.code() in (*DENIED, *REJECTED):
        text = f"Kafka: {error.str()}"
        return Failure(text, "" if RIGHTS in text else RIGHTS, REFUSED)
    if error.code() == KafkaError._INVALID_ARG:
        return Failure(f"Kafka: {error.str()}", "kafka.options are properties of librdkafka", code=2)
    return None
