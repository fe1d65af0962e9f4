"""What Kafka's refusals mean."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from millstream.schemas.denial import is_denial, named, rejection


def test_a_rejected_connection_is_told_without_its_address_and_time() -> None:
    text = "sasl_ssl://h:9093/bootstrap: SASL authentication error: bad password (after 309ms in state AUTH_REQ)"
    assert rejection(KafkaError(KafkaError._AUTHENTICATION, text)) == "SASL authentication error: bad password"


def test_a_broker_that_is_away_rejects_nobody() -> None:
    assert rejection(KafkaError(KafkaError._TRANSPORT, "h:1/bootstrap: Connect to h:1 failed")) == ""


def test_an_encrypted_client_at_a_plain_port_is_told_so() -> None:
    text = "sasl_ssl://h:9092/bootstrap: SSL handshake failed: connecting to a PLAINTEXT broker listener?"
    assert "PLAINTEXT" in rejection(KafkaError(KafkaError._TRANSPORT, text))


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED])
def test_a_refused_request_names_user_operation_and_resource(code: int) -> None:
    error = named(KafkaException(KafkaError(code)), "alice", "Write", "topic jobs.high").args[0]
    assert error.code() == code
    assert "user 'alice' has no right to Write topic jobs.high" in error.str()


def test_another_error_stays_what_it_is() -> None:
    error = KafkaException(KafkaError(KafkaError._TRANSPORT))
    assert named(error, "alice", "Write", "topic jobs.high") is error


def test_the_text_of_an_error_tells_whether_a_right_is_missing() -> None:
    assert is_denial(f"Failed to get committed offsets: {KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED).str()}")
    assert not is_denial("Local: Timed out")
