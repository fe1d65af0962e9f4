"""A worker in the test's own process, and what it needs."""

from collections.abc import Iterator

import pytest

from millstream.local.broker import Broker
from millstream.producers import JobClient
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.eventlog import EventLog


@pytest.fixture
def log(kafka: Broker, topics: TopicCatalogue) -> Iterator[EventLog]:
    events = EventLog(kafka.bootstrap, topics.events)
    yield events
    events.close()


@pytest.fixture
def client(kafka: Broker, topics: TopicCatalogue) -> Iterator[JobClient]:
    with JobClient(KafkaConnection(kafka.bootstrap), topics, source="tests") as jobs:
        yield jobs
