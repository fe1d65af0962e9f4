"""Jobs that go on after their partition was given back: announced first, and each with one outcome."""

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.transaction import ProducerLost, TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch
from millstream.consumers.worker import retained_jobs
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Finished
from millstream.consumers.worker.retained_jobs import GIVEN_BACK
from tests.support.scripted_positions import CLUSTER
from tests.unit.consumers.worker.conftest import TOPIC, Parts

PARTITION = [TopicPartition(TOPIC, 0)]


def give_back(parts: Parts, jobs: int = 2) -> list[Execution]:
    """Give a partition back while so many of its jobs run."""
    parts.may_announce = True
    parts.assign(0)
    executions = parts.take_requests(jobs)
    for each in executions:
        parts.start(each)
    parts.handover.on_revoke(parts.member, PARTITION)
    return executions


def running(parts: Parts) -> set[int]:
    return set(parts.groups.announced[TOPIC, 0, 0].running)


def write(parts: Parts) -> None:
    parts.commit_loop.collect()
    for _ in range(3):
        parts.handover.run_once()


def test_what_runs_is_announced_in_the_transaction_that_commits_the_partition(parts: Parts) -> None:
    executions = give_back(parts)
    groups = [commit.group for commit in parts.transactions.written[-1].commits]
    assert groups[-1] == "handover-0"
    assert running(parts) == {0, 1}
    assert all(each.retained for each in executions)
    assert parts.handover.retained == 2
    assert parts.groups.announced[TOPIC, 0, 0].cluster_id == CLUSTER, "it counts at this cluster only"
    assert parts.status.retains_as.startswith("w-handover-")
    assert parts.consumer.calls[-1] == ("unassign", [0])


def test_the_outcome_and_the_announcement_without_it_are_one_transaction(parts: Parts) -> None:
    first, _ = give_back(parts)
    parts.succeed(first)
    write(parts)
    (batch,) = parts.handover_transactions.written
    assert [each.topic for each in batch.records] == ["jobs.events"]
    assert [each.assignment for each in batch.records] == [None], "the partition is not held any more"
    assert parts.groups.announced[TOPIC, 0, 0].finished == {0}
    assert running(parts) == {1}
    assert parts.handover.retained == 1


def test_an_aborted_transaction_is_written_again(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained_jobs, "REST_S", 0.0)
    first, _ = give_back(parts)
    parts.handover_transactions.aborts = 1
    parts.succeed(first)
    write(parts)
    assert len(parts.handover_transactions.written) == 1
    assert parts.handover.retained == 1


def test_an_outcome_that_cannot_be_written_is_given_back_and_holds_up_no_other(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_jobs, "REST_S", 0.0)
    bad, good = give_back(parts)

    def refuses(batch: TransactionBatch) -> Exception | None:
        missing = any(each.topic == "jobs.dead" for each in batch.records)
        return TransactionAborted("unknown topic", unwritable={"jobs.dead": "unknown topic"}) if missing else None

    parts.handover_transactions.refuses = refuses
    bad.end(outcome.failed(ValueError("bad")))
    parts.facts.append(Finished(bad))
    parts.succeed(good)
    write(parts)
    announced = parts.groups.announced[TOPIC, 0, 0]
    assert (announced.running, announced.finished) == (frozenset(), frozenset({good.offset}))
    assert parts.handover.retained == 0


def test_what_outlasts_its_grace_period_is_cancelled_and_given_back_without_an_outcome(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_jobs, "EXPIRE_INTERVAL_S", 0.0)
    parts.handover._handover_grace_s = -1.0
    first, second = give_back(parts)
    write(parts)
    assert {first.cancelled, second.cancelled} == {GIVEN_BACK}
    for each in (first, second):
        each.end(outcome.cancelled(GIVEN_BACK))
        parts.facts.append(Finished(each))
    write(parts)
    assert running(parts) == set()
    assert parts.groups.announced[TOPIC, 0, 0].finished == set()
    assert [record for batch in parts.handover_transactions.written for record in batch.records] == []
    assert parts.handover.retained == 0


def test_a_function_that_returns_after_its_grace_period_has_its_outcome(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_jobs, "EXPIRE_INTERVAL_S", 0.0)
    parts.handover._handover_grace_s = -1.0
    (execution,) = give_back(parts, jobs=1)
    write(parts)
    parts.succeed(execution)
    write(parts)
    assert parts.groups.announced[TOPIC, 0, 0].finished == {0}


def test_a_function_that_cannot_be_ended_keeps_its_announcement_alive(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_jobs, "EXPIRE_INTERVAL_S", 0.0)
    parts.handover._handover_grace_s = -20.0
    give_back(parts, jobs=1)
    before = parts.groups.announced[TOPIC, 0, 0].until
    write(parts)
    assert parts.groups.announced[TOPIC, 0, 0].until > before
    assert running(parts) == {0}


def test_after_it_was_fenced_nothing_is_written_and_everything_is_cancelled(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = give_back(parts)

    def fenced() -> None:
        parts.handover_transactions.batch = None
        raise ProducerLost("fenced")

    monkeypatch.setattr(parts.handover_transactions, "finish", fenced)
    parts.succeed(first)
    write(parts)
    assert parts.handover.retained == 0
    assert parts.status.retains_as == "", "the next owner learns that nothing more is written"
    assert second.cancelled
    parts.succeed(second)
    write(parts)
    assert parts.handover_transactions.written == []


def test_a_session_that_ends_gives_back_what_has_not_ended(parts: Parts) -> None:
    give_back(parts)
    parts.handover.close()
    assert running(parts) == set()
    assert parts.handover.retained == 0
    assert parts.status.retains_as == ""


def test_nothing_goes_on_under_an_announcement_that_may_or_may_not_be_written(parts: Parts) -> None:
    parts.transactions.aborts = 10
    executions = give_back(parts)
    assert not any(each.retained for each in executions)
    assert parts.cancelled == 1
    assert parts.status.retains_as == "", "whoever reads it later learns that it is void"


def test_nothing_goes_on_where_the_broker_does_not_keep_what_is_announced(parts: Parts) -> None:
    parts.groups.keeps_text = False
    executions = give_back(parts)
    assert not any(each.retained for each in executions)
    assert parts.handover.retained == 0
    assert parts.cancelled == 1


def test_nothing_is_announced_while_a_worker_runs_that_would_not_understand_it(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.handover.on_revoke(parts.member, PARTITION)
    assert parts.groups.announced == {}
    assert not execution.retained
