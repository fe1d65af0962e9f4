"""One secured broker for all tests of rights, and a user for each role with the rights of the documentation."""

from collections.abc import Iterator

import pytest

from millstream.topics import apply_topics
from tests.support import secured_broker
from tests.support.installation import ROLES, Installation
from tests.support.secured_broker import SecuredBroker


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """Apache Kafka with TLS, SCRAM, tokens and an authorizer, one node."""
    yield from secured_broker.secured(tmp_path_factory.mktemp("secured"), ROLES)


@pytest.fixture(scope="module")
def installation(secured_kafka: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Topics, and every role with its rights."""
    made = Installation(secured_kafka, tmp_path_factory.mktemp("installation"))
    for role in ROLES:
        made.allow(role)
    apply_topics(secured_kafka.unrestricted, made.topics)
    return made
