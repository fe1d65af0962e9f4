"""A lane gets more partitions while jobs with ordering keys wait in the ones that it has."""

from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topic_growth import read_growth
from millstream.topics import apply_topics
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog
from tests.support.growth import grow
from tests.support.guarantees import History, NoJobLost, OneOutcomePerAttempt, OrderPerKey
from tests.support.running_worker import RunningWorker

KEYS = [f"key-{number}" for number in range(12)]


def steps(count: int) -> list[NewJob]:
    """So many jobs of each key."""
    return [NewJob("sleep", {"seconds": 0.25}, ordering_key=key) for _ in range(count) for key in KEYS]


def test_jobs_of_a_key_run_in_their_order_while_its_lane_gets_more_partitions(
    kafka: Broker, topics: TopicCatalogue, client: JobClient
) -> None:
    connection = KafkaConnection(kafka.bootstrap)
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", drain_grace_s=1.0):
        first = client.submit_many(steps(40))
        larger = grow(kafka.bootstrap, topics, 8, settle_s=0.5)
        with JobClient(connection, larger) as aware:
            second = aware.submit_many(steps(3))
    log = EventLog(kafka.bootstrap, larger.events)
    # The first worker has left most jobs of each key undone. A worker alone would keep their order: it runs one job of
    # a key at a time, whatever partition it comes from.
    with RunningWorker(kafka.bootstrap, larger, jobs, "w2"), RunningWorker(kafka.bootstrap, larger, jobs, "w3"):
        log.until_finished([*first, *second])
    log.close()
    keys = {key: [*first, *second][number :: len(KEYS)] for number, key in enumerate(KEYS)}
    history = History([*first, *second], log.events, keys)
    for guarantee in (NoJobLost(), OneOutcomePerAttempt(), OrderPerKey()):
        assert guarantee.violations(history) == []
    assert not any(each.unfinished for each in read_growth(connection, larger).values())
    assert {each.status for each in apply_topics(connection, larger)} == {"ok"}
