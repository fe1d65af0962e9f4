"""The demo's independent count of outcomes."""

import pytest
from confluent_kafka import KafkaException

from millstream.demo.verification import read_outcomes
from millstream.local.broker import Broker
from millstream.schemas import Codec, KafkaConnection


def test_a_topic_that_does_not_exist_is_an_error_and_not_a_count_of_nothing(kafka: Broker) -> None:
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
        read_outcomes(KafkaConnection(kafka.bootstrap), "no.such.topic", Codec())
