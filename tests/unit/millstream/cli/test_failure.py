"""An expected exception ends a command with a sentence, a hint and an exit code; any other is a bug and is raised."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from millstream.cli.failure import Failure, as_failure
from millstream.producers import InvalidJob
from millstream.settings import InvalidSettings


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InvalidSettings("kafka.bootstrap = 1"), 2, "kafka.bootstrap = 1"),
        (InvalidJob("tenant is empty"), 2, "tenant is empty"),
        (KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN, "all down")), 3, "Kafka: all down"),
        (Failure("no such file", code=1), 1, "no such file"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_expected_exception_has_a_code_and_its_text(error: Exception, code: int, text: str) -> None:
    failure = as_failure(error)
    assert failure is not None
    assert (failure.code, str(failure)) == (code, text)


def test_a_subclass_of_an_expected_exception_is_expected() -> None:
    class TooManyJobs(InvalidJob):
        pass

    failure = as_failure(TooManyJobs("100 jobs"))
    assert failure is not None and failure.code == 2


def test_an_exception_without_a_rule_is_no_failure() -> None:
    assert as_failure(ZeroDivisionError()) is None
