"""A failed job has a line in the worker's log, and a storm of failures has few."""

from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.monitoring.failure_log import FailureLog
from millstream.line_rate import LineRate
from millstream.redaction import Redaction
from millstream.schemas import Codec, JobRequest, RequestReader

CODEC = Codec()
PAYLOAD = b'{"card": "4111"}'


def ended(ends_as: Outcome, **fields: Any) -> Execution:
    request = JobRequest(tenant="acme", job_type="mail.send", payload=PAYLOAD, **fields)
    value = CODEC.encode(request)
    execution = Execution(Assignment("jobs.default", 0, "default"), 0, value, RequestReader(CODEC).read(value))
    execution.begin()
    execution.end(ends_as)
    return execution


def failure(raises: Callable[[], object]) -> Outcome:
    try:
        raises()
    except Exception as error:
        return outcome.failed(error)
    raise AssertionError


def declined() -> None:
    raise ValueError("declined")


def lost() -> None:
    raise KeyError("lost")


def logged(*executions: Execution) -> list[Any]:
    log = FailureLog(LineRate(1.0, lambda: 0.0, most=10))
    with capture_logs() as lines:
        for each in executions:
            log.ended(each)
    return list(lines)


def test_a_line_names_the_job_and_the_error_with_its_stack_and_not_the_payload() -> None:
    execution = ended(failure(declined), max_attempts=3)
    (line,) = logged(execution)
    assert line["event"] == "job_failed"
    assert line["log_level"] == "warning", "another attempt follows"
    assert line["job_id"] == execution.job_id
    assert (line["job_type"], line["tenant"], line["attempt"]) == ("mail.send", "acme", 1)
    assert (line["error_type"], line["reason"]) == ("ValueError", "declined")
    assert "in declined" in line["exception"]
    assert "4111" not in str(line)


def test_the_last_attempt_is_an_error() -> None:
    lines = logged(ended(failure(declined)), ended(outcome.timed_out("after 3 s")))
    assert [(each["event"], each["log_level"]) for each in lines] == [
        ("job_failed", "error"),
        ("job_timed_out", "error"),
    ]


def test_a_redacted_failure_has_no_stack_in_the_log() -> None:
    (line,) = logged(ended(outcome.redacted(failure(declined), Redaction(errors=True))))
    assert "exception" not in line
    assert "declined" not in str(line)


def test_what_succeeds_or_is_cancelled_has_no_line() -> None:
    assert logged(ended(SUCCEEDED), ended(outcome.cancelled("wrong report"))) == []


def test_a_storm_of_failures_is_a_few_lines() -> None:
    assert len(logged(*[ended(failure(declined)) for _ in range(500)], ended(failure(lost)))) == 2
