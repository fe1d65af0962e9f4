"""The topic catalogue."""

from millstream.schemas import TopicCatalogue


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
