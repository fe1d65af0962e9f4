"""A job that is submitted again under its id runs again, as another attempt, and everybody says so."""

from collections import Counter
from pathlib import Path

import pytest

from millstream.consumers.worker import JobContext, JobTypes
from millstream.local.broker import Broker
from millstream.producers import AsyncJobClient, InvalidJob, JobClient, NewJob, SubmitError
from millstream.schemas import EventKind, JobRequest, KafkaConnection, TopicCatalogue
from tests.support.eventlog import EventLog, TopicReader
from tests.support.running_tracker import RunningTracker
from tests.support.running_worker import RunningWorker
from tests.support.waiting import eventually


def handlers() -> JobTypes:
    jobs = JobTypes()

    @jobs.job("fails-first")
    async def fails_first(context: JobContext) -> None:
        if context.attempt == 1:
            raise ValueError("no good")

    return jobs


def read_until(log: EventLog, outcomes: int) -> None:
    while log.outcomes.total() < outcomes:
        log.read()
    # What comes twice comes at once.
    for _ in range(5):
        log.read()


def test_a_job_that_is_submitted_twice_at_once_has_two_attempts_with_one_outcome_each(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    with (
        JobClient(KafkaConnection(kafka.bootstrap), topics) as client,
        RunningWorker(kafka.bootstrap, topics, handlers()),
    ):
        job_id = client.submit("fails-first", max_attempts=2)
        client.submit("fails-first", job_id=job_id)
        log = EventLog(kafka.bootstrap, topics.events)
        read_until(log, 3)
    assert log.outcomes == Counter({(job_id, 1): 1, (job_id, 2): 1, (job_id, 3): 1})
    assert log.started[job_id] == 3
    log.close()


@pytest.mark.parametrize("attempt", [None, 2, 1])
def test_a_job_that_has_ended_and_is_submitted_again_shows_its_new_end_in_state_and_counts(
    kafka: Broker, topics: TopicCatalogue, tmp_path: Path, attempt: int | None
) -> None:
    """`attempt` 1: another process submits it without saying that it has run. Its attempt is then not a new one, which
    the tracker counts."""
    other_types = JobTypes()

    @other_types.job("fails-first")
    async def succeeds() -> None: ...

    connection = KafkaConnection(kafka.bootstrap)
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker, JobClient(connection, topics) as client:
        with RunningWorker(kafka.bootstrap, topics, handlers()):
            job_id = client.submit("fails-first")
            eventually(lambda: tracker.json(f"/jobs/{job_id}").get("state"), lambda state: state == "failed")
        with JobClient(connection, topics) as another:
            (another if attempt else client).submit("fails-first", job_id=job_id, attempt=attempt)
        eventually(lambda: tracker.json(f"/jobs/{job_id}").get("state"), lambda state: state == "submitted")
        waiting = tracker.json(f"/jobs/{job_id}")
        assert (waiting["finished_at"], waiting["started_at"], waiting["error_type"]) == (None, None, "")
        assert tracker.json("/counts")["states"] == {"submitted": 1}
        with RunningWorker(kafka.bootstrap, topics, other_types):
            eventually(lambda: tracker.json(f"/jobs/{job_id}").get("state"), lambda state: state == "succeeded")
        ended, counts = tracker.json(f"/jobs/{job_id}"), tracker.json("/counts")
    assert (ended["attempt"], ended["executions"], ended["outcomes"]) == (attempt or 2, 2, 2)
    assert ended["submitted_at"] < ended["started_at"] < ended["finished_at"]
    assert counts["states"] == {"succeeded": 1}
    assert (counts["duplicate_outcomes"], counts["reused_attempts"]) == (0, 1 if attempt == 1 else 0)


def test_the_same_id_twice_in_one_call_sends_nothing(kafka: Broker, topics: TopicCatalogue) -> None:
    job_id, jobs = "01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0", list[NewJob]()
    jobs = [NewJob("a.b"), NewJob("a.b", job_id=job_id), NewJob("a.b", job_id=job_id)]
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as client:
        for atomic in (False, True):
            with pytest.raises(InvalidJob, match=r"job 2 of the call .* job 1 of the call has the same id"):
                client.submit_many(jobs, atomic=atomic)
    reader = TopicReader(kafka.bootstrap, topics.lane("default"))
    reader.read(1.0)
    assert reader.values == []
    reader.close()


async def test_the_async_client_numbers_attempts_over_all_turns_of_a_call(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    async with AsyncJobClient(KafkaConnection(kafka.bootstrap), topics) as client:
        ids = await client.submit_many([NewJob("a.b") for _ in range(600)])
        again = [NewJob("a.b", job_id=each) for each in ids]
        with pytest.raises(InvalidJob, match=r"job 600 of the call .* job 0 of the call has the same id"):
            await client.submit_many([*again, again[0]])
        await client.submit_many(again)
    reader = TopicReader(kafka.bootstrap, topics.lane("default"))
    reader.until(lambda: len(reader.values) == 1200)
    attempts = Counter((each.job_id, each.attempt) for each in reader.decoded(JobRequest))
    assert attempts == Counter((each, attempt) for each in ids for attempt in (1, 2))
    reader.close()


def test_a_job_that_kafka_did_not_accept_keeps_its_attempt_when_it_is_submitted_again(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    with_missing = TopicCatalogue(topics.prefix, (*topics.lanes, "nowhere"), partitions=4)
    with JobClient(KafkaConnection(kafka.bootstrap), with_missing) as client:
        with pytest.raises(SubmitError) as refused:
            client.submit("a.b", lane="nowhere")
        job_id, _ = refused.value.not_accepted[0]
        client.submit("a.b", job_id=job_id)
    reader = TopicReader(kafka.bootstrap, topics.lane("default"))
    reader.until(lambda: bool(reader.values))
    assert [(each.job_id, each.attempt) for each in reader.decoded(JobRequest)] == [(job_id, 1)]
    reader.close()
    log = EventLog(kafka.bootstrap, topics.events)
    while EventKind.SUBMITTED not in log.kinds_of(job_id):
        log.read()
    log.close()
