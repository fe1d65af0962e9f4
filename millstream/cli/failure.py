"""How a command ends when it cannot do what it was asked: a sentence, a hint and an exit code.

Exit codes: 0 done, 1 a check failed, 2 wrong input or settings, 3 a service is missing, 4 a worker's grace period ended
before its jobs did, 5 another worker has this one's name.
"""

from dataclasses import dataclass


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


RULES = {
    "millstream.settings.InvalidSettings": ErrorRule(2, "`millstream config show` prints every setting"),
    "millstream.producers.request.InvalidJob": ErrorRule(2, "nothing was sent"),
    "millstream.producers.delivery.SubmitError": ErrorRule(3, "`millstream doctor` finds the cause"),
    "cimpl.KafkaException": ErrorRule(
        3, "`millstream doctor` finds the cause; `millstream up` starts a broker", "Kafka: {error}"
    ),
    "millstream.schemas.registry.RegistryUnavailable": ErrorRule(
        3, "no record was lost: it is read again at the next start"
    ),
    "millstream.analytics.client.ClickHouseUnavailable": ErrorRule(
        3, "`millstream up` starts one; `millstream doctor` finds the cause"
    ),
    "clickhouse_connect.driver.exceptions.ClickHouseError": ErrorRule(3, text="ClickHouse: {error}"),
    "millstream.consumers.worker.loop_guard.TooManyStuckHandlers": ErrorRule(3, "the supervisor starts another worker"),
    "millstream.consumers.worker.worker.NameTaken": ErrorRule(5, "give each worker a --name of its own, or none"),
    "millstream.consumers.worker.monitoring.health.PortUnavailable": ErrorRule(
        2, "set worker.health_port (MILLSTREAM_WORKER__HEALTH_PORT) to a free port, or to 0 for none"
    ),
    "millstream.consumers.worker.first_start.CommitMissing": ErrorRule(2),
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
    for each in type(error).__mro__:
        rule = RULES.get(f"{each.__module__}.{each.__qualname__}")
        if rule:
            reason = error.args[0].str() if each.__module__ == "cimpl" else str(error).strip()
            return Failure(rule.text.format(error=reason), rule.hint, rule.code)
    return None
