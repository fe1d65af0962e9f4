"""Jobs of one call are checked each, though what they share is encoded once, and no attempt is submitted twice."""

from typing import Any

import pytest

from millstream.producers import InvalidJob, NewJob
from millstream.producers.preparation import Preparation, PreparedJob
from millstream.schemas import Codec, JobRequest, TopicCatalogue
from millstream.schemas.ids import new_id

CODEC = Codec()
PREPARATION = Preparation(TopicCatalogue(), CODEC, source="billing", max_payload_bytes=100)


def test_each_job_of_a_mixed_batch_is_written_as_if_it_were_submitted_alone() -> None:
    given = new_id()
    jobs = [
        NewJob("a.b", {"n": 1}),
        NewJob("a.b", {"n": 2}),
        NewJob("a.b", b"raw"),
        NewJob("a.b", {"n": 3}, ordering_key="order-1", tenant="acme", labels={"team": "x"}),
        NewJob("a.b", {"n": 4}, ordering_key="order-2", tenant="acme", labels={"team": "x"}),
        NewJob("a.b", {"n": 5}, job_id=given, lane="high", timeout_s=2, max_attempts=3),
    ]
    prepared = PREPARATION.prepare(jobs)
    for job, ready in zip(jobs, prepared, strict=True):
        record, _ = ready.shared.records(ready.job_id.encode(), ready.ordering_key, ready.payload)
        written = CODEC.decode(record, JobRequest)
        alone = job.request("billing")
        own = {"job_id": written.job_id, "submitted_at": written.submitted_at}
        assert written == alone.model_copy(update=own)
        assert ready.topic == TopicCatalogue().lane(job.lane)
    assert prepared[-1].job_id == given
    assert len({ready.job_id for ready in prepared}) == len(jobs)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ordering_key": "x" * 257}, "ordering_key="),
        ({"job_id": "order-17"}, "job_id='order-17'"),
        ({"payload": b"x" * 101}, "101 bytes, the limit is 100"),
        ({"tenant": ["acme"]}, r"tenant=\['acme'\]"),
        ({"labels": {"n": [1]}}, r"labels\.n=\[1\]"),
        ({"labels": ["n"]}, r"labels=\['n'\]"),
        ({"lane": "nowhere"}, "the lanes are"),
    ],
)
def test_a_wrong_job_after_one_like_it_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        PREPARATION.prepare([NewJob("a.b"), NewJob(**{"job_type": "a.b", **fields})])


def request_of(ready: PreparedJob) -> JobRequest:
    record, _ = ready.shared.records(ready.job_id.encode(), ready.ordering_key, ready.payload)
    return CODEC.decode(record, JobRequest)


@pytest.fixture
def client() -> Preparation:
    """What one client remembers."""
    return Preparation(TopicCatalogue(), CODEC)


def test_a_job_that_is_submitted_again_under_its_id_has_the_attempts_after_those_it_may_have_had(
    client: Preparation,
) -> None:
    (first,) = client.prepare([NewJob("a.b", max_attempts=3)])
    again = NewJob("a.b", job_id=first.job_id, max_attempts=2)
    requests = [request_of(client.prepare([again])[0]) for _ in range(2)]
    assert [(each.job_id, each.attempt, each.max_attempts) for each in requests] == [
        (first.job_id, 4, 5),
        (first.job_id, 6, 7),
    ]


def test_jobs_of_one_call_that_are_submitted_again_have_attempts_of_their_own(client: Preparation) -> None:
    ids = [ready.job_id for ready in client.prepare([NewJob("a.b"), NewJob("a.b", max_attempts=4), NewJob("a.b")])]
    again = client.prepare([NewJob("a.b", job_id=each) for each in (*ids, new_id())])
    assert [request_of(each).attempt for each in again] == [2, 5, 2, 1]


def test_a_client_that_does_not_know_the_job_is_told_its_attempt(client: Preparation) -> None:
    job_id = new_id()
    request = request_of(client.prepare([NewJob("a.b", job_id=job_id, attempt=7, max_attempts=3)])[0])
    assert (request.attempt, request.max_attempts) == (7, 9)
    assert request_of(client.prepare([NewJob("a.b", job_id=job_id)])[0]).attempt == 10


@pytest.mark.parametrize("size", [1, 2, 10])
def test_the_same_id_twice_in_one_call_is_refused_and_the_error_names_both_places(
    client: Preparation, size: int
) -> None:
    job_id = new_id()
    jobs = [NewJob("a.b"), NewJob("a.b", job_id=job_id), NewJob("a.b"), NewJob("a.b", job_id=job_id, attempt=2)]
    with pytest.raises(InvalidJob, match=rf"^job 3 of the call .*: job_id='{job_id}': job 1 of the call has the same"):
        list(client.in_turns(jobs, size))
    assert request_of(client.prepare([jobs[1]])[0]).attempt == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"attempt": 2}, "a job without a `job_id` is new"),
        ({"attempt": 0, "job_id": new_id()}, "attempt=0: a whole number from 1"),
        ({"attempt": 2**31, "job_id": new_id()}, "attempt=2147483648: a whole number from 1"),
        ({"attempt": "2", "job_id": new_id()}, "attempt='2': a whole number from 1"),
        ({"attempt": [2], "job_id": new_id()}, r"attempt=\[2\]: a whole number from 1"),
    ],
)
def test_an_attempt_that_a_job_cannot_have_is_refused(client: Preparation, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        client.prepare([NewJob("a.b", **fields)])


def test_an_attempt_that_the_client_has_submitted_is_refused(client: Preparation) -> None:
    (first,) = client.prepare([NewJob("a.b", max_attempts=2)])
    with pytest.raises(InvalidJob, match=r"attempt=2 of job .* was submitted by this client; 3 was not"):
        client.prepare([NewJob("a.b", job_id=first.job_id, attempt=2)])


def test_a_job_that_kafka_did_not_accept_has_the_same_attempts_when_it_is_submitted_again(client: Preparation) -> None:
    prepared = client.prepare([NewJob("a.b"), NewJob("a.b")])
    refused, accepted = (each.job_id for each in prepared)
    client.release(prepared, {refused})
    again = client.prepare([NewJob("a.b", job_id=refused), NewJob("a.b", job_id=accepted)])
    assert [request_of(each).attempt for each in again] == [1, 2]


def test_a_call_that_ends_between_two_turns_takes_no_attempts(client: Preparation) -> None:
    jobs = [NewJob("a.b", job_id=new_id()) for _ in range(3)]
    turns = client.in_turns(jobs, 2)
    next(turns)
    turns.close()  # type: ignore[attr-defined]
    assert {request_of(each).attempt for each in client.prepare(jobs)} == {1}


def test_a_job_whose_attempts_are_used_up_is_refused(client: Preparation) -> None:
    job_id = new_id()
    client.prepare([NewJob("a.b", job_id=job_id, attempt=10**9, max_attempts=2)])
    for _ in range(2):
        with pytest.raises(
            InvalidJob, match=r"^job_id='.*': its next attempt is 1,000,000,002, at most 1,000,000,000$"
        ):
            client.prepare([NewJob("a.b", job_id=job_id)])


@pytest.mark.parametrize("wrong", [None, {"job_type": "a"}, "a.b", 7])
def test_what_is_no_job_is_refused_with_its_place_in_the_call(wrong: Any) -> None:
    with pytest.raises(InvalidJob, match=r"job 1 of the call.*a NewJob is expected, not a"):
        PREPARATION.prepare([NewJob("a.b"), wrong])


@pytest.mark.parametrize("wrong", [None, 7])
def test_a_call_without_a_series_of_jobs_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJob, match="a series of NewJobs is expected, not a"):
        PREPARATION.prepare(wrong)


def test_the_error_of_a_payload_names_the_job_and_the_path() -> None:
    with pytest.raises(InvalidJob, match=r"job 2 of the call .*payload\.rate is not a finite number"):
        PREPARATION.prepare([NewJob("a.b"), NewJob("a.b"), NewJob("a.b", {"rate": float("nan")})])
