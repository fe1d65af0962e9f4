"""What a client raises that fails for good."""

from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from millstream.schemas.fatal_error import cause_of_failure, kafka_error

DENIED = KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))


class FailedProducer:
    """A producer whose next call tells why it has failed."""

    def flush(self, timeout: float) -> int:
        raise DENIED


def test_the_error_of_kafka_is_found_behind_what_the_client_makes_of_it() -> None:
    error = SystemError("a callback returned a result with an exception set")
    error.__cause__ = DENIED
    assert kafka_error(error) is DENIED and kafka_error(DENIED) is DENIED
    other = SystemError("something else")
    with pytest.raises(SystemError, match="something else"):
        kafka_error(other)


def test_a_producer_that_has_failed_for_good_says_why() -> None:
    failed, producer = KafkaException(KafkaError(KafkaError._FATAL)), cast(Producer, FailedProducer())
    assert cause_of_failure(producer, failed) is DENIED
    late = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    assert cause_of_failure(producer, late) is late
