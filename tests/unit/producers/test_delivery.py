"""What a submit call says about each of its jobs."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from millstream.producers import JobClient, delivery
from millstream.producers.delivery import Receipt, SubmitError
from millstream.schemas import KafkaConnection
from tests.support.scripted_group import ScriptedMessage

MESSAGE: Any = ScriptedMessage("jobs.default", 0, 0, None)


def test_an_error_keeps_what_kafka_does_not_have_apart_from_what_it_may_have() -> None:
    receipt = Receipt(4)
    accepted, refused, timed_out, _ = (receipt.watch(job_id) for job_id in ("1", "2", "3", "4"))
    accepted(None, MESSAGE)
    refused(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), MESSAGE)
    timed_out(KafkaError(KafkaError._MSG_TIMED_OUT), MESSAGE)
    with pytest.raises(SubmitError) as caught:
        receipt.check()
    assert [job_id for job_id, _ in caught.value.not_accepted] == ["2"]
    assert [job_id for job_id, _ in caught.value.unknown] == ["3", "4"]
    assert str(caught.value).startswith("job 2 was not accepted: ")
    assert "job 3 may or may not be accepted: " in str(caught.value)
    assert receipt.accepted == 1


def test_a_call_whose_jobs_are_all_accepted_is_done_once() -> None:
    told: list[bool] = []
    receipt = Receipt(2, when_done=lambda: told.append(True))
    for delivered in [receipt.watch("1"), receipt.watch("2")]:
        delivered(None, MESSAGE)
    receipt.check()
    assert receipt.done
    assert told == [True]


def test_a_client_waits_for_its_connection_before_its_first_job_and_not_before_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    class ScriptedProducer:
        """Accepts everything, and knows no topic."""

        def __init__(self, settings: dict[str, Any]) -> None:
            self._unserved: list[Any] = []

        def list_topics(self, topic: str, timeout_s: float) -> None:
            calls.append("connect")
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

        def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Any) -> None:
            calls.append("produce")
            self._unserved.append(on_delivery)

        def poll(self, timeout_s: float) -> int:
            for on_delivery in filter(None, self._unserved):
                on_delivery(None, MESSAGE)
            self._unserved.clear()
            return 0

        flush = poll

    monkeypatch.setattr(delivery, "Producer", ScriptedProducer)
    with JobClient(KafkaConnection("nowhere:1")) as client:
        client.submit("noop")
        client.submit("noop")
    assert calls == ["connect", *["produce"] * 4]
