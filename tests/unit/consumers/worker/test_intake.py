"""The intake: every record of an assigned partition is executed, moved aside or given up, once."""

import time
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.worker import deferred_partitions, idleness, newer_records
from millstream.consumers.worker import intake as intake_module
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Finished
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.schemas import Codec, DeadLetter, PinnedRegistry, RegistryUnavailable
from millstream.schemas.registry import Schema, pinned_schemas
from tests.support.hostile_records import hostile_records, of_newer_release
from tests.support.scripted_group import ScriptedMessage, request
from tests.unit.consumers.worker.conftest import NEWER_GRACE_S, TOPIC, Parts


def test_records_of_an_assigned_partition_are_submitted_in_their_order(parts: Parts) -> None:
    parts.assign(0)
    assert [each.offset for each in parts.take_requests(3)] == [0, 1, 2]
    assert parts.metrics.taken == 3
    assert parts.in_flight.admission.records == 3


def test_records_of_a_partition_that_is_not_assigned_are_ignored(parts: Parts) -> None:
    assert parts.take_requests(2) == []


def test_a_record_that_is_delivered_twice_is_submitted_once(parts: Parts) -> None:
    parts.assign(0)
    value = request(parts.codec)
    assert len(parts.take(value)) == 1
    assert parts.take(value) == []


def test_an_unreadable_record_becomes_a_dead_letter_and_stops_nothing(parts: Parts) -> None:
    parts.assign(0)
    submitted = parts.take(b"nonsense", request(parts.codec), first_offset=5)
    assert [each.offset for each in submitted] == [6]
    parts.commit_loop.write_all()
    assert parts.written() == [("jobs.dead", True)]
    assert parts.committed() == {0: 6}


NEWER = of_newer_release()


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    moment = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: moment)


def test_a_record_of_an_unannounced_schema_waits_for_a_worker_that_can_read_it_and_what_is_behind_it_goes_on(
    parts: Parts,
) -> None:
    parts.assign(0)
    submitted = parts.take(request(parts.codec), NEWER, request(parts.codec))
    assert [each.offset for each in submitted] == [0, 2]
    for each in submitted:
        parts.start(each)
        parts.succeed(each)
    parts.intake.pause_or_resume()
    parts.commit_loop.write_all()
    assert parts.consumer.paused == set()
    assert parts.metrics.held == 1
    assert "jobs.dead" not in [topic for topic, _ in parts.written()]
    assert parts.committed() == {0: 1}, "the next owner reads from the record on"


def test_a_record_that_no_worker_could_read_for_the_whole_grace_period_becomes_a_dead_letter(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    parts.take(NEWER)
    later(monkeypatch, NEWER_GRACE_S - 1)
    parts.intake.pause_or_resume()
    assert parts.metrics.held == 1
    later(monkeypatch, NEWER_GRACE_S + 1)
    parts.intake.pause_or_resume()
    assert parts.metrics.held == 0
    parts.commit_loop.write_all()
    assert parts.written() == [("jobs.dead", True)]
    assert parts.committed() == {0: 1}


def test_jobs_of_the_key_of_a_record_that_cannot_be_read_yet_start_after_it_is_given_up_and_in_their_order(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0, 1)
    same, other = (request(parts.codec, ordering_key=key) for key in ("k", "l"))
    parts.take(NEWER, key=b"k")
    assert parts.take(same, same, first_offset=1, key=b"k") == []
    assert len(parts.take(other, first_offset=3, key=b"l")) == 1, "other keys go on"
    assert len(parts.take(same, partition=1, key=b"k")) == 1, "the key of another partition is another one"
    assert parts.metrics.taken == 2
    later(monkeypatch, NEWER_GRACE_S + 1)
    before = len(parts.submitted)
    parts.intake.pause_or_resume()
    assert [each.offset for each in parts.submitted[before:]] == [1, 2]
    assert len(parts.take(same, first_offset=4, key=b"k")) == 1


def test_records_that_claim_to_be_of_a_newer_release_fill_no_memory_and_stop_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newer_records, "MOST_RECORDS", 5)
    parts.assign(0)
    parts.take(*[NEWER] * 20)
    parts.intake.pause_or_resume()
    assert parts.metrics.held == 5
    monkeypatch.setattr(newer_records, "MOST_BYTES", 2 * len(NEWER))
    parts.intake.pause_or_resume()
    assert parts.metrics.held == 2
    parts.commit_loop.write_all()
    assert parts.written() == [("jobs.dead", True)] * 18
    assert parts.committed() == {0: 18}, "the oldest were given up"
    assert len(parts.take(request(parts.codec), first_offset=20)) == 1


def test_what_was_kept_aside_of_a_partition_that_was_taken_away_is_left_to_its_next_owner(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    parts.take(NEWER)
    parts.handover.on_revoke(parts.member, [parts.consumer_partition(0)])
    later(monkeypatch, NEWER_GRACE_S + 1)
    parts.intake.pause_or_resume()
    parts.commit_loop.write_all()
    assert parts.metrics.held == 0
    assert parts.written() == []


class AbsentRegistry(PinnedRegistry):
    """A schema registry that is away."""

    def schema_of(self, schema_id: int) -> Schema:
        if schema_id not in pinned_schemas():
            raise RegistryUnavailable("connection refused")
        return super().schema_of(schema_id)


@pytest.fixture
def without_registry() -> Parts:
    return Parts(codec=Codec(AbsentRegistry()))


def test_a_record_of_a_newer_release_holds_its_partition_until_a_worker_can_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert_held_until_readable(Parts(codec=Codec(PinnedRegistry(lambda: max(pinned_schemas()) + 1))), monkeypatch)


def test_a_record_whose_schema_the_registry_does_not_tell_holds_its_partition_until_it_does(
    without_registry: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_held_until_readable(without_registry, monkeypatch)


def assert_held_until_readable(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.assign(0, 1)
    submitted = parts.take(request(parts.codec), NEWER, request(parts.codec))
    assert [each.offset for each in submitted] == [0], "what is behind the record waits with it"
    assert parts.take(request(parts.codec), first_offset=3) == []
    assert len(parts.take(request(parts.codec), partition=1)) == 1, "other partitions go on"
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == {(TOPIC, 0)}
    assert parts.metrics.deferred == 1
    parts.start(submitted[0])
    parts.succeed(submitted[0])
    parts.commit_loop.write_all()
    assert "jobs.dead" not in [topic for topic, _ in parts.written()]
    assert parts.committed() == {0: 1}, "the next owner reads from the record on"
    later(monkeypatch, 2 * deferred_partitions.RETRY_S)
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == set()
    assert parts.consumer.calls[-1] == ("seek", (0, 1))
    assert [each.offset for each in parts.take(request(parts.codec), request(parts.codec), first_offset=1)] == [1, 2]


def test_what_was_read_behind_a_record_is_read_again_however_long_the_registry_took_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SlowRegistry(AbsentRegistry):
        def schema_of(self, schema_id: int) -> Schema:
            if schema_id not in pinned_schemas():
                later(monkeypatch, 2 * deferred_partitions.RETRY_S)
            return super().schema_of(schema_id)

    parts = Parts(codec=Codec(SlowRegistry()))
    parts.assign(0)
    assert parts.take(request(parts.codec), NEWER, request(parts.codec))[1:] == []
    later(monkeypatch, 4 * deferred_partitions.RETRY_S)
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == set()
    assert parts.consumer.calls[-1] == ("seek", (0, 1))


def test_a_partition_that_was_taken_away_is_not_waited_for(without_registry: Parts) -> None:
    parts = without_registry
    parts.assign(0)
    parts.take(NEWER)
    parts.handover.on_revoke(parts.member, [parts.consumer_partition(0)])
    parts.intake.pause_or_resume()
    assert parts.metrics.deferred == 0


def test_hostile_records_of_every_kind_are_dead_letters_or_jobs_and_stop_nothing(parts: Parts) -> None:
    parts.assign(0)
    offset, jobs = 0, []
    records = hostile_records()
    for each in records:
        jobs += parts.take(each.value, first_offset=offset, key=each.key)
        jobs += parts.take(request(parts.codec), first_offset=offset + 1)
        offset += 2
    assert len(jobs) == len(records) + sum(each.runs for each in records)
    for job in jobs:
        parts.start(job)
        job.end(outcome.failed(ValueError("of the handler")) if job.tenant == "mallory" else SUCCEEDED)
        parts.facts.append(Finished(job))
    parts.commit_loop.write_all()
    letters = [topic for topic, _ in parts.written() if topic == "jobs.dead"]
    assert len(letters) == len(records), "each that is no request, and each job that failed"
    assert parts.committed() == {0: offset}


def test_a_tenant_over_its_share_is_moved_to_the_overflow_topic_and_its_offsets_are_done() -> None:
    parts = Parts(admitted=10)
    parts.assign(0, 1)
    parts.take(request(parts.codec, tenant="small"), partition=1)
    parts.take_requests(6, tenant="flood")
    admission = parts.in_flight.admission
    now = time.monotonic()
    admission.moves("flood", now)
    assert admission.moves("flood", now + 2), "it holds its share and drains nothing"
    assert parts.take(request(parts.codec, tenant="flood"), first_offset=6) == []
    assert [each.tenant for each in parts.take(request(parts.codec, tenant="small"), first_offset=7)] == ["small"]
    parts.commit_loop.write_all()
    assert parts.written() == [(f"{TOPIC}.overflow", True)]
    assert parts.metrics.moved == 1


def test_jobs_with_an_ordering_key_are_never_moved() -> None:
    parts = Parts(admitted=10)
    parts.assign(0, 1)
    parts.take(request(parts.codec, tenant="small"), partition=1)
    parts.take_requests(6, tenant="flood")
    now = time.monotonic()
    parts.in_flight.admission.moves("flood", now)
    assert parts.in_flight.admission.moves("flood", now + 2)
    value = request(parts.codec, tenant="flood", ordering_key="k")
    assert [each.ordering_key for each in parts.take(value, first_offset=6)] == ["k"]


def alone(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> list[Execution]:
    """A tenant fills admission with jobs that do not end, and has the worker to itself."""
    monkeypatch.setattr(intake_module, "PAUSE_AFTER_S", 0.0)
    executions = parts.take_requests(10, tenant="flood")
    began = time.monotonic()
    parts.intake.poll()
    monkeypatch.setattr(time, "monotonic", lambda: began + 2)
    parts.intake.poll()
    parts.intake.pause_or_resume()
    return executions


def arrive(parts: Parts, offset: int, *tenants: str, partition: int = 0) -> None:
    """Let the intake have records, which it takes or looks at, and go round."""
    values = [request(parts.codec, tenant=tenant) for tenant in tenants]
    parts.take(*values, partition=partition, first_offset=offset)
    parts.intake.poll()
    parts.intake.pause_or_resume()


def seeks(parts: Parts) -> list[tuple[int, int]]:
    return [where for call, where in parts.consumer.calls if call == "seek"]


def test_a_tenant_that_is_alone_is_not_moved_and_what_was_only_looked_at_is_taken_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = Parts(admitted=10)
    parts.assign(0, 1)
    executions = alone(parts, monkeypatch)
    assert parts.consumer.paused == set(), "it looks for others"
    arrive(parts, 10, "flood", "flood", "flood")
    assert len(parts.submitted) == 10 and parts.metrics.moved == 0
    for execution in executions[:5]:
        parts.start(execution)
        parts.succeed(execution)
    parts.commit_loop.write_all()
    arrive(parts, 13)
    assert seeks(parts) == [(0, 10)], "what was passed is read again"
    arrive(parts, 10, "flood", "flood", "flood")
    assert [each.offset for each in parts.submitted[10:]] == [10, 11, 12]
    assert parts.metrics.moved == 0


def test_jobs_of_a_tenant_that_is_alone_are_moved_when_another_tenants_job_is_found_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = Parts(admitted=10)
    parts.assign(0, 1)
    alone(parts, monkeypatch)
    arrive(parts, 0, "flood", partition=1)
    arrive(parts, 10, "flood", "small", "flood")
    assert sorted(seeks(parts)) == [(0, 10), (1, 0)], "every partition is read again from where it was taken"
    arrive(parts, 10, "flood", "small", "flood")
    arrive(parts, 0, "flood", partition=1)
    assert [each.tenant for each in parts.submitted[10:]] == ["small"]
    assert parts.metrics.moved == 3


def test_a_fatal_error_of_the_consumer_ends_the_session_and_another_one_does_not(parts: Parts) -> None:
    parts.assign(0)
    passing = ScriptedMessage(TOPIC, 0, 0, None, KafkaError(KafkaError._TRANSPORT, "a broker went away"))
    fatal = ScriptedMessage(TOPIC, 0, 0, None, KafkaError(KafkaError._FATAL, "fenced", fatal=True))
    taken: list[Message] = [passing]  # type: ignore[list-item]
    parts.intake.take(parts.member, taken)
    with pytest.raises(ProducerLost, match="fenced"):
        parts.intake.take(parts.member, [fatal])  # type: ignore[list-item]


def test_a_partition_is_paused_while_admission_stays_full_and_read_on_from_the_next_unread_offset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_module, "PAUSE_AFTER_S", 0.0)
    parts = Parts(admitted=4)
    parts.assign(0)
    # With ordering keys nothing can be moved; four different tenants each stay within their share.
    executions = [parts.take(request(parts.codec, tenant=f"t{n}"), first_offset=n)[0] for n in range(4)]
    parts.intake.poll()
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == {(TOPIC, 0)}
    for execution in executions[:2]:
        execution.begin()
        parts.succeed(execution)
    parts.commit_loop.run_once()
    parts.intake.poll()
    parts.intake.pause_or_resume()
    assert parts.consumer.paused == set()
    assert ("seek", (0, 4)) in parts.consumer.calls


def test_nothing_is_taken_while_the_writer_is_behind(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    for _ in range(10_001):
        parts.start(execution)
    parts.commit_loop.collect()
    parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, 1, request(parts.codec))])
    parts.intake.poll()
    assert len(parts.submitted) == 1
    parts.commit_loop.write_all()
    parts.intake.poll()
    assert len(parts.submitted) == 2


def test_a_rebalance_is_followed_closely_by_a_worker_without_jobs(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    start = time.monotonic()
    parts.intake.poll()
    monkeypatch.setattr(time, "monotonic", lambda: start + 2 * idleness.IDLE_AFTER_S)
    assert parts.intake.poll()
    poll = parts.consumer.poll

    def rebalancing(timeout: float) -> Any:
        parts.member.rebalances += 1
        return poll(timeout)

    monkeypatch.setattr(parts.consumer, "poll", rebalancing)
    assert not parts.intake.poll(), "the other parts have their turn at once"
    monkeypatch.setattr(parts.consumer, "poll", poll)
    assert not parts.intake.poll()


def test_a_worker_without_jobs_polls_less_often_and_a_job_ends_that(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(parts.consumer, "poll", waits.append)
    start = time.monotonic()
    parts.assign(0)
    parts.intake.poll()
    monkeypatch.setattr(time, "monotonic", lambda: start + 2 * idleness.IDLE_AFTER_S)
    parts.intake.poll()
    assert waits == [intake_module.LONGEST_POLL_S, intake_module.IDLE_POLL_S]
    parts.take_requests(1)
    monkeypatch.setattr(time, "monotonic", lambda: start + 4 * idleness.IDLE_AFTER_S)
    parts.intake.poll()
    assert waits[-1] == intake_module.LONGEST_POLL_S, "while a job runs its outcome must not wait"


def test_the_dead_letter_of_a_large_record_that_is_no_request_names_its_place_instead_of_holding_it(
    parts: Parts,
) -> None:
    parts.assign(0)
    parts.take(b"x" * 65_536, b"x" * 65_537)
    parts.commit_loop.write_all()
    values = [each.value for batch in parts.transactions.written for each in batch.records]
    small, large = (parts.codec.decode(value, DeadLetter) for value in values)
    assert small.record_value == b"x" * 65_536
    assert large.record_value is None
    assert "value of 65,537 bytes left out" in large.error_message
    assert (large.topic, large.partition, large.offset) == (TOPIC, 0, 1)
