"""The topic catalogue."""

import pytest

from millstream.schemas import TopicCatalogue
from millstream.schemas.topics import InvalidLanes


def test_every_topic_has_a_distinct_name_below_the_prefix() -> None:
    names = [topic.name for topic in TopicCatalogue("acme.", lanes=("fast", "slow"))]
    assert len(set(names)) == len(names)
    assert all(name.startswith("acme.jobs.") for name in names)
    assert {"acme.jobs.fast", "acme.jobs.slow.overflow", "acme.jobs.delay.1d"} <= set(names)


def test_the_trackers_table_has_as_many_partitions_as_the_events() -> None:
    catalogue = TopicCatalogue(partitions=5)
    partitions = {topic.name: topic.partitions for topic in catalogue}
    assert partitions[catalogue.states] == partitions[catalogue.events] == 5


def test_delayed_jobs_and_current_states_are_never_deleted_by_age() -> None:
    catalogue = TopicCatalogue()
    kept = {topic.name for topic in catalogue if topic.retention_ms is None}
    assert {catalogue.delay("1d"), catalogue.states, catalogue.commands} <= kept


@pytest.mark.parametrize(
    ("lanes", "reason"),
    [
        (("default", "default.overflow"), "'default' would share the topic millstream.jobs.default.overflow"),
        (("default", "default"), "'default' would share the topic millstream.jobs.default"),
        (("events",), "'events' would share the topic millstream.jobs.events"),
        (("delay.1s",), "'delay.1s' would share the topic millstream.jobs.delay.1s"),
        (("overflow",), "cannot be called 'overflow'"),
        (("handover-0",), "cannot be called 'handover-0'"),
    ],
)
def test_lanes_that_would_share_a_topic_or_a_consumer_group_are_refused(lanes: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidLanes, match=reason):
        TopicCatalogue(lanes=lanes)


def test_lanes_with_names_like_those_of_topics_are_allowed() -> None:
    assert TopicCatalogue(lanes=("overflows", "event", "delay", "default.more")).lanes[0] == "overflows"
