"""Jobs of one call are checked each, though what they share is encoded once."""

from typing import Any

import pytest

from millstream.producers import InvalidJob, NewJob
from millstream.producers.preparation import Preparation
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
        ({"lane": "nowhere"}, "the lanes are"),
    ],
)
def test_a_wrong_job_after_one_like_it_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        PREPARATION.prepare([NewJob("a.b"), NewJob(**{"job_type": "a.b", **fields})])
