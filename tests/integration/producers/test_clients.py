"""Submitting on a real broker: an id means Kafka has the job, an error names the jobs it does not have."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from millstream.local.broker import Broker
from millstream.producers import AsyncJobClient, InvalidJob, JobClient, NewJob, SubmitError
from millstream.producers.delivery import Receipt, Submission
from millstream.producers.preparation import Preparation
from millstream.schemas import Codec, EventKind, JobRequest, KafkaConnection, TopicCatalogue
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


def test_an_atomic_batch_that_is_never_finished_holds_up_the_jobs_of_others_for_a_few_seconds(
    kafka: Broker, topics: TopicCatalogue, lane: TopicReader
) -> None:
    connection = KafkaConnection(kafka.bootstrap)
    # As it is left behind by a producer that dies.
    died = Submission(
        connection, topics, linger_ms=1, delivery_timeout_s=30, transactional_id=f"{topics.prefix}producer-died"
    )
    died.producer.init_transactions(30)
    died.producer.begin_transaction()
    for prepared in Preparation(topics, Codec()).prepare([NewJob("a.b") for _ in range(20)]):
        died.write(prepared, Receipt(20))
    assert died.producer.flush(30) == 0
    with JobClient(connection, topics) as jobs:
        ids = jobs.submit_many([NewJob("a.b") for _ in range(20)])
    # The broker aborts the transaction after five seconds, and looks every ten seconds at most.
    lane.until(lambda: len(lane.values) == 20, within_s=25)
    assert {request.job_id for request in lane.decoded(JobRequest)} == set(ids)


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
    with pytest.raises(SubmitError, match="may or may not be accepted"):
        jobs.submit("a.b")


def test_a_call_ends_at_its_time_however_many_jobs_it_has() -> None:
    jobs = JobClient(KafkaConnection("127.0.0.1:1", {"log_level": 0}), delivery_timeout_s=1)
    with pytest.raises(SubmitError) as caught:
        jobs.submit_many(NewJob("a.b") for _ in range(150_000))
    assert len(caught.value.failed) == 150_000
    assert caught.value.not_accepted, "the buffer holds fewer, so the last were never handed over"


def test_a_client_that_was_made_before_a_fork_works_in_both_processes(
    kafka: Broker, topics: TopicCatalogue, lane: TopicReader
) -> None:
    with JobClient(KafkaConnection(kafka.bootstrap), topics, delivery_timeout_s=20) as jobs:
        first = jobs.submit("a.b")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(
                    writing, "".join((jobs.submit("a.b"), *jobs.submit_many([NewJob("a.b")], atomic=True))).encode()
                )
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            from_child = pipe.read()
        last = jobs.submit("a.b")
    lane.until(lambda: len(lane.values) == 4)
    assert {request.job_id for request in lane.decoded(JobRequest)} == {
        first,
        last,
        from_child[: len(first)],
        from_child[len(first) :],
    }


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
