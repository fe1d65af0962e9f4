"""Topics of a test that get more partitions."""

from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topic_growth import SETTLE_S, TopicGrowth, plan_growth
from millstream.topics import apply_topics


def grow(bootstrap: str, topics: TopicCatalogue, partitions: int, settle_s: float = SETTLE_S) -> TopicCatalogue:
    """Give every topic of work so many partitions, in the order of keys. Returns the topics as they are then."""
    connection, larger = KafkaConnection(bootstrap), TopicCatalogue(topics.prefix, partitions=partitions)
    found = {each.topic.name: each.partitions for each in apply_topics(connection, larger)}
    TopicGrowth(connection, larger, settle_s=settle_s).grow(plan_growth(found, larger))
    return larger
