"""What the tests of the tracker share."""

from collections.abc import Iterator

import pytest

from millstream.local.broker import Broker
from millstream.schemas import TopicCatalogue
from tests.support.tracked_events import EventWriter


@pytest.fixture
def writer(kafka: Broker, topics: TopicCatalogue) -> Iterator[EventWriter]:
    yield EventWriter(kafka.bootstrap, topics.events)
