"""Submitting on a real broker: an id means Kafka has the job, an error names the jobs it does not have."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from millstream.local.broker import Broker
from millstream.producers import AsyncJobClient, InvalidJob, JobClient, NewJob, SubmitError
from millstream.schemas import EventKind, JobRequest, KafkaConnection, TopicCatalogue
from tests.support.eventlog import EventLog, TopicReader


@pytest.fixture
def promised(topics: TopicCatalogue) -> TopicCatalogue:
    """Topics of which one, the lane "nowhere", was never created."""
    return TopicCatalogue(topics.prefix, (*topics.lanes, "nowhere"), partitions=4)


@pytest.fixture
def lane(kafka: Broker, topics: TopicCatalogue) -> Iterator[TopicReader]:
    reader = TopicReader(kafka.bootstrap, topics.lane("default"))
    yield reader
    reader.close()


def test_an_acknowledged_job_is_on_its_lane_and_announced(
    kafka: Broker, topics: TopicCatalogue, lane: TopicReader
) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), topics, source="billing") as jobs:
        job_id = jobs.submit("a.b", {"x": 1}, tenant="acme", ordering_key="order-7", labels={"team": "growth"})
    lane.until(lambda: len(lane.values) == 1)
    request = lane.decoded(JobRequest)[0]
    assert (request.job_id, request.tenant, request.job_type, request.source) == (job_id, "acme", "a.b", "billing")
    assert request.payload == b'{"x":1}'
    assert lane.keys == [b"order-7"]
    log = EventLog(kafka.bootstrap, topics.events)
    while not log.events:
        log.read()
    announced = log.events[0]
    assert (announced.kind, announced.job_id, announced.labels) == (EventKind.SUBMITTED, job_id, {"team": "growth"})
    assert announced.submitted_at == request.submitted_at
    log.close()


def test_many_jobs_keep_their_order_of_ids(kafka: Broker, topics: TopicCatalogue, lane: TopicReader) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as jobs:
        ids = jobs.submit_many(NewJob("a.b", {"n": n}) for n in range(3000))
    lane.until(lambda: len(lane.values) == 3000)
    assert ids == sorted(ids)
    assert {request.job_id for request in lane.decoded(JobRequest)} == set(ids)


def test_one_invalid_job_among_many_sends_none(kafka: Broker, topics: TopicCatalogue, lane: TopicReader) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as jobs:
        for atomic in (False, True):
            with pytest.raises(InvalidJob, match="tenant='no good'"):
                jobs.submit_many([NewJob("a.b"), NewJob("a.b", tenant="no good")], atomic=atomic)
    lane.read(1.0)
    assert lane.values == []


def test_an_atomic_batch_is_there_whole(kafka: Broker, topics: TopicCatalogue, lane: TopicReader) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as jobs:
        first = jobs.submit_many([NewJob("a.b") for _ in range(50)], atomic=True)
        second = jobs.submit_many([NewJob("a.b") for _ in range(50)], atomic=True)
    lane.until(lambda: len(lane.values) == 100)
    assert {request.job_id for request in lane.decoded(JobRequest)} == {*first, *second}


def test_an_atomic_batch_that_cannot_be_written_is_not_there_at_all(
    kafka: Broker, promised: TopicCatalogue, lane: TopicReader
) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), promised, delivery_timeout_s=10) as jobs:
        with pytest.raises(SubmitError, match="the topic does not exist"):
            jobs.submit_many([NewJob("a.b"), NewJob("a.b", lane="nowhere")], atomic=True)
        after = jobs.submit("a.b")
    lane.until(lambda: bool(lane.values))
    lane.read(0.5)
    assert [request.job_id for request in lane.decoded(JobRequest)] == [after]


def test_a_lane_whose_topic_is_missing_is_an_error_that_names_the_job(kafka: Broker, promised: TopicCatalogue) -> None:
    with (
        JobClient(KafkaConnection(kafka.bootstrap), promised, delivery_timeout_s=10) as jobs,
        pytest.raises(SubmitError, match="the topic does not exist") as caught,
    ):
        jobs.submit("a.b", lane="nowhere")
    assert len(caught.value.failed) == 1


def test_a_lane_that_is_not_in_the_catalogue_is_refused_before_sending(kafka: Broker, topics: TopicCatalogue) -> None:
    with (
        JobClient(KafkaConnection(kafka.bootstrap), topics) as jobs,
        pytest.raises(InvalidJob, match="the lanes are high, default, bulk"),
    ):
        jobs.submit("a.b", lane="nowhere")


def test_no_broker_is_an_error_in_time() -> None:
    jobs = JobClient(KafkaConnection("127.0.0.1:1", {"log_level": 0}), delivery_timeout_s=1)
    with pytest.raises(SubmitError, match="was not accepted"):
        jobs.submit("a.b")


def test_a_payload_of_the_largest_size_arrives(kafka: Broker, topics: TopicCatalogue, lane: TopicReader) -> None:
    payload = bytes(range(256)) * 4096
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as jobs:
        jobs.submit("a.b", payload)
    lane.until(lambda: len(lane.values) == 1)
    assert lane.decoded(JobRequest)[0].payload == payload


def test_threads_that_share_a_client_each_get_the_answer_for_their_own_jobs(
    kafka: Broker, topics: TopicCatalogue, lane: TopicReader
) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as jobs, ThreadPoolExecutor(8) as threads:
        singles = [threads.submit(jobs.submit, "a.b", {"n": n}) for n in range(400)]
        batches = [threads.submit(jobs.submit_many, [NewJob("a.b")] * 50) for _ in range(8)]
        ids = [each.result() for each in singles] + [job_id for each in batches for job_id in each.result()]
    lane.until(lambda: len(lane.values) == 800)
    assert len(set(ids)) == 800
    assert {request.job_id for request in lane.decoded(JobRequest)} == set(ids)


async def test_the_asyncio_client_submits_more_than_may_be_on_the_way_at_once(
    kafka: Broker, topics: TopicCatalogue, lane: TopicReader
) -> None:
    async with AsyncJobClient(KafkaConnection(kafka.bootstrap), topics, max_pending=100) as jobs:
        ids = await jobs.submit_many([NewJob("a.b")] * 2000)
        assert await jobs.submit_many([]) == []
    lane.until(lambda: len(lane.values) == 2000)
    assert {request.job_id for request in lane.decoded(JobRequest)} == set(ids)


async def test_the_asyncio_client_submits_at_once_what_is_gathered(
    kafka: Broker, topics: TopicCatalogue, lane: TopicReader
) -> None:
    async with AsyncJobClient(KafkaConnection(kafka.bootstrap), topics) as jobs:
        ids = await asyncio.gather(*(jobs.submit("a.b", {"n": n}) for n in range(500)))
        ids += await jobs.submit_many([NewJob("a.b") for _ in range(500)])
    lane.until(lambda: len(lane.values) == 1000)
    assert {request.job_id for request in lane.decoded(JobRequest)} == set(ids)


async def test_the_asyncio_client_names_what_was_not_accepted(kafka: Broker, promised: TopicCatalogue) -> None:
    async with AsyncJobClient(KafkaConnection(kafka.bootstrap), promised, delivery_timeout_s=10) as jobs:
        with pytest.raises(InvalidJob):
            await jobs.submit("a.b", object())
        with pytest.raises(SubmitError) as caught:
            await jobs.submit_many([NewJob("a.b"), NewJob("a.b", lane="nowhere")])
    assert len(caught.value.failed) == 1
