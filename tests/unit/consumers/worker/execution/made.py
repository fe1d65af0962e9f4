"""Executions by hand."""

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.execution.execution import Execution
from millstream.schemas import Codec, JobRequest, RequestReader

CODEC = Codec()


def execution(job_type: str, **fields: object) -> Execution:
    """An execution of the first offset of a partition of its own."""
    request = JobRequest.model_validate({"tenant": "acme", "job_type": job_type, "payload": b"{}", **fields})
    value = CODEC.encode(request)
    return Execution(Assignment("jobs.default", 0, "default"), 0, value, RequestReader(CODEC).read(value))
