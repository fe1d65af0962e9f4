"""Each worker is assigned its part of each lane."""

import time
from typing import Any

from confluent_kafka.admin import AdminClient

from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until


def parts(kafka: Broker, topics: TopicCatalogue) -> list[list[int]]:
    """For each lane, how many of its four partitions each of its members has."""
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    groups = [f"{topics.prefix}workers.{lane}" for lane in topics.lanes]
    described = [future.result() for future in admin.describe_consumer_groups(groups).values()]
    return [sorted(len(each.assignment.topic_partitions) for each in group.members) for group in described]


def test_a_worker_that_joins_later_gets_its_part_of_each_lane(kafka: Broker, topics: TopicCatalogue) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1"):
        until(lambda: parts(kafka, topics) == [[4]] * 3)
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2"):
            until(lambda: parts(kafka, topics) == [[2, 2]] * 3)


def test_a_worker_that_admits_no_more_still_gives_others_their_part(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    briefly: dict[str, Any] = {"revoke_grace_s": 0.2, "drain_grace_s": 0.0}
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", admission_jobs=4, **briefly):
        # Jobs with a key are never moved aside.
        client.submit_many([NewJob("sleep", {"seconds": 600}, ordering_key=str(number)) for number in range(20)])
        while len(log.started) < 4:
            log.read()
        # By now it has stopped fetching.
        time.sleep(1)
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2", **briefly):
            until(lambda: parts(kafka, topics) == [[2, 2]] * 3)


def test_workers_of_the_newer_group_protocol_share_each_lane_and_hand_over_without_a_loss(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", group_protocol="consumer"):
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2", group_protocol="consumer"):
            until(lambda: parts(kafka, topics) == [[2, 2]] * 3)
            first = client.submit_many([NewJob("sleep", {"seconds": 0.01}) for _ in range(300)])
            while len(log.started) < 100:
                log.read()
        until(lambda: parts(kafka, topics) == [[4]] * 3)
        second = client.submit_many([NewJob("sleep", {}) for _ in range(100)])
        log.until_finished([*first, *second])
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert len(log.outcomes) == 400
