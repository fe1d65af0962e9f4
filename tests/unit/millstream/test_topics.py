"""Which settings of a topic are corrected, and which topics may get more partitions."""

import pytest

from millstream.schemas import TopicCatalogue
from millstream.schemas.partition_growth import GrowthStep, PartitionGrowth
from millstream.topic_growth import Growth, GrowthRefused, plan_growth
from millstream.topics import wrong_settings

TOPICS = TopicCatalogue("", lanes=("default",), partitions=8)
LANE = next(iter(TOPICS))


def test_settings_that_differ_are_corrected_and_the_others_are_left() -> None:
    assert wrong_settings(LANE, 1, LANE.config | {"segment.ms": "5"}) == {}
    actual = LANE.config | {"message.timestamp.type": "CreateTime", "unclean.leader.election.enable": "true"}
    assert wrong_settings(LANE, 1, actual) == {
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
    }


def test_a_setting_that_the_broker_does_not_have_is_not_wrong() -> None:
    assert wrong_settings(LANE, 3, {}) == {}


@pytest.mark.parametrize(
    ("replicas", "actual", "corrected"), [(3, "1", "2"), (3, "2", None), (3, "3", None), (2, "1", None), (1, "1", None)]
)
def test_of_three_replicas_two_must_have_a_record(replicas: int, actual: str, corrected: str | None) -> None:
    wrong = wrong_settings(LANE, replicas, LANE.config | {"min.insync.replicas": actual})
    assert wrong.get("min.insync.replicas") == corrected


def test_every_topic_with_fewer_partitions_grows_and_only_lanes_have_ordering_keys() -> None:
    now = {topic.name: min(4, topic.partitions) for topic in TOPICS}
    growth = plan_growth(now, TOPICS)
    assert {(each.before, each.after) for each in growth} == {(4, 8)}
    assert [each.topic for each in growth if each.ordered] == [LANE.name]
    assert {TOPICS.events, TOPICS.states, TOPICS.overflow("default"), TOPICS.dead} <= {each.topic for each in growth}
    assert Growth(TOPICS.events, 4, 8, ordered=False) in growth


def test_a_number_of_partitions_that_is_no_multiple_is_refused_with_one_that_is() -> None:
    with pytest.raises(GrowthRefused, match=r"jobs.default has 3 partitions.*such as 9"):
        plan_growth({LANE.name: 3}, TOPICS)
    assert plan_growth({TOPICS.overflow("default"): 3}, TOPICS), "no ordering key is ever in an overflow topic"


def test_nothing_grows_that_is_missing_or_has_enough() -> None:
    assert plan_growth({TOPICS.lane("default"): 0, TOPICS.events: 8, TOPICS.states: 16}, TOPICS) == []


def test_a_partition_belongs_to_the_last_growth_that_made_it() -> None:
    first, second = GrowthStep(before=2, after=4, ends=(1, 2)), GrowthStep(before=4, after=8)
    growth = PartitionGrowth(topic="t", steps=(first, second))
    assert [growth.step_of(number) for number in (1, 2, 3, 4, 7, 8)] == [None, first, first, second, second, None]
    assert growth.unfinished
    assert not PartitionGrowth(topic="t", steps=(first,)).unfinished
