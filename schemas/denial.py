"""What Kafka's refusals mean: a user that it does not let in, and a right that the user does not have."""

import re

from confluent_kafka import KafkaError, KafkaException

RIGHTS = "docs/security.md lists the rights, `millstream acls` prints them"

REJECTED = (
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
)
"""Errors of a connection that cannot be made: wrong password, token or certificate."""

DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
"""Errors of a request that the user has no right to make."""


def rejection(error: KafkaError) -> str:
    """Why a connection is rejected, as a sentence; empty when the error says nothing of that."""
    text = str(error.str())
    if error.code() not in REJECTED and "broker listener" not in text:
        return ""
    # The address of the connection stands before it, and how long it took after it.
    return re.sub(r" \(after \d+ms in state \w+\)$", "", re.sub(r"^\w+://\S+: ", "", text))


def is_denial(reason: str) -> bool:
    """Whether the text of an error says that a right is missing."""
    return any(str(KafkaError(code).str()) in reason for code in DENIED)


def no_right(user: str, operation: str, resource: str) -> str:
    """That a user lacks a right, as a sentence: `operation` as Kafka calls it, and the resource, such as `topic x`."""
    return f"user {user!r} has no right to {operation} {resource}" if user else f"no right to {operation} {resource}"


def named(error: KafkaException, user: str, operation: str, resource: str) -> KafkaException:
    """The error of a request that needs a right, with a text that says which one if that is the cause."""
    cause: KafkaError = error.args[0]
    if cause.code() not in DENIED:
        return error
    return KafkaException(KafkaError(cause.code(), f"{no_right(user, operation, resource)}; {RIGHTS}"))
