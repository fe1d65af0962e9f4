"""Orders: what an operator says is done by every worker, at once and after a restart."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.scheduling.adaptive_limit import AdaptiveLimit
from millstream.local.broker import Broker
from millstream.local.ports import free_port
from millstream.producers import (
    JobClient,
    NewJob,
    active_commands,
    remove_expired_cancellations,
    revoke_command,
    send_command,
)
from millstream.schemas import (
    Action,
    Command,
    EventKind,
    Heartbeat,
    KafkaConnection,
    Scope,
    TopicCatalogue,
    WorkerState,
)
from millstream.schemas.ids import new_id
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog, TopicReader
from tests.support.running_worker import RunningWorker
from tests.support.waiting import eventually, until

LITTLE_ROOM: dict[str, Any] = {"admission_jobs": 100, "limit": "fixed", "concurrency": 10, "overflow_after_ms": 20}
"""A worker that a flood fills at once."""


def send(kafka: Broker, topics: TopicCatalogue, action: Action, scope: Scope, target: str, **limits: float) -> None:
    command = Command.model_validate({"action": action, "scope": scope, "target": target, **limits})
    send_command(command, KafkaConnection(kafka.bootstrap), topics)


def standing(kafka: Broker, topics: TopicCatalogue) -> list[Action]:
    return [each.action for each in active_commands(KafkaConnection(kafka.bootstrap), topics)]


def test_the_end_of_the_topic_is_told_without_waiting_for_a_fetch_to_time_out(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    send(kafka, topics, Action.PAUSE, Scope.TENANT, "acme")
    # A fetch that waited this long would take longer than the reader has.
    patient = KafkaConnection(kafka.bootstrap, {"fetch.wait.max.ms": 45_000})
    assert [each.action for each in active_commands(patient, topics)] == [Action.PAUSE]


def test_a_running_and_a_waiting_job_are_cancelled(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, concurrency=1, min_concurrency=1, max_concurrency=1):
        running = [client.submit(kind, {"seconds": 600}) for kind in ("sleep", "thread", "process")]
        waiting = client.submit("sleep", {"seconds": 600})
        while len(log.started) < 3:
            log.read()
        for job_id in (waiting, *running):
            send(kafka, topics, Action.CANCEL_JOB, Scope.JOB, job_id)
        log.until_finished([*running, waiting])
    kinds = {event.job_id: event.kind for event in log.events if event.final}
    assert {kinds[job_id] for job_id in [*running, waiting]} == {EventKind.CANCELLED}
    # With the end of the jobs the orders are gone.
    assert standing(kafka, topics) == []


def test_a_paused_tenant_stays_paused_over_a_restart_until_it_is_resumed(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    send(kafka, topics, Action.PAUSE, Scope.TENANT, "acme")
    send(kafka, topics, Action.SET_QUOTA, Scope.TENANT, "acme", max_concurrency=1)
    held = client.submit_many([NewJob("sleep", {}, tenant="acme") for _ in range(5)])
    free = client.submit_many([NewJob("sleep", {}, tenant="other") for _ in range(5)])
    with RunningWorker(kafka.bootstrap, topics, jobs):
        log.until_finished(free)
        time.sleep(0.5)
        log.read(0.5)
        assert not set(held) & set(log.started)
        assert standing(kafka, topics) == [Action.PAUSE, Action.SET_QUOTA]
        send(kafka, topics, Action.RESUME, Scope.TENANT, "acme")
        log.until_finished(held)
    assert standing(kafka, topics) == [Action.SET_QUOTA]
    ended = [event for event in log.events if event.final and event.tenant == "acme"]
    spans = sorted((event.started_at, event.occurred_at) for event in ended if event.started_at)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


def test_a_cancellation_that_was_taken_back_or_is_older_than_the_job_cancels_nothing(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    connection = KafkaConnection(kafka.bootstrap)
    revoked, resubmitted, cancelled = client.submit_many([NewJob("sleep", {}) for _ in range(3)])
    for job_id, age_s in ((revoked, 0), (resubmitted, 3600), (cancelled, 0)):
        issued_at = datetime.now(UTC) - timedelta(seconds=age_s)
        order = Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=job_id, issued_at=issued_at)
        send_command(order, connection, topics)
    revoke_command(Action.CANCEL_JOB, Scope.JOB, revoked, connection, topics)
    with RunningWorker(kafka.bootstrap, topics, jobs):
        log.until_finished([revoked, resubmitted, cancelled])
    kinds = {event.job_id: event.kind for event in log.events if event.final}
    assert kinds == {
        revoked: EventKind.SUCCEEDED,
        resubmitted: EventKind.SUCCEEDED,
        cancelled: EventKind.CANCELLED,
    }
    # With the end of the jobs the orders are gone.
    assert standing(kafka, topics) == []


def test_a_quota_that_was_ordered_holds_and_is_lifted_again(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    send(kafka, topics, Action.SET_QUOTA, Scope.JOB_TYPE, "sleep", max_concurrency=0)
    ids = client.submit_many([NewJob("sleep", {}) for _ in range(5)])
    others = client.submit_many([NewJob("thread", {}) for _ in range(5)])
    with RunningWorker(kafka.bootstrap, topics, jobs):
        log.until_finished(others)
        assert not set(ids) & set(log.started)
        send(kafka, topics, Action.SET_QUOTA, Scope.JOB_TYPE, "sleep")
        log.until_finished(ids)
    assert standing(kafka, topics) == []


def test_no_more_jobs_start_than_a_rate_quota_allows(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    send(kafka, topics, Action.SET_QUOTA, Scope.TENANT, "acme", max_per_second=5)
    ids = client.submit_many([NewJob("sleep", {}, tenant="acme") for _ in range(10)])
    with RunningWorker(kafka.bootstrap, topics, jobs):
        log.until_finished(ids)
    # Five at once, then one each fifth of a second.
    assert (log.starts[-1].occurred_at - log.starts[0].occurred_at).total_seconds() > 0.9


def test_tenants_take_turns_by_the_weights_of_their_quotas(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    send(kafka, topics, Action.SET_QUOTA, Scope.TENANT, "acme", weight=4)
    send(kafka, topics, Action.PAUSE, Scope.LANE, "default")
    ids = client.submit_many([NewJob("sleep", {}, tenant=tenant) for tenant in ("acme", "other") for _ in range(50)])
    with RunningWorker(kafka.bootstrap, topics, jobs, limit="fixed", concurrency=1) as running:
        until(lambda: (load := running.worker.status.load) is not None and load.waiting == 100)
        send(kafka, topics, Action.RESUME, Scope.LANE, "default")
        log.until_finished(ids)
    assert 19 <= [event.tenant for event in log.starts[:25]].count("acme") <= 21


def test_a_worker_applies_all_commands_before_its_first_job_though_the_topic_ends_in_transactions(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[bool] = []
    apply_to = ActiveCommands.apply_to

    def recorded(self: ActiveCommands, executor: Executor, keep_waiting: Callable[[], bool]) -> bool:
        applied = apply_to(self, executor, keep_waiting)
        waited.append(self.caught_up.is_set())
        return applied

    monkeypatch.setattr(ActiveCommands, "apply_to", recorded)
    cancelled = client.submit("sleep", {"seconds": 600})
    send(kafka, topics, Action.CANCEL_JOB, Scope.JOB, cancelled)
    with RunningWorker(kafka.bootstrap, topics, jobs):
        log.until_finished([cancelled])
    with RunningWorker(kafka.bootstrap, topics, jobs, "w2"):
        log.until_finished([client.submit("sleep", {})])
    assert waited == [True, True]


def test_a_flooding_tenant_is_moved_to_the_overflow_topic_and_still_every_job_runs_once(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, **LITTLE_ROOM) as running:
        flood = client.submit_many([NewJob("sleep", {"seconds": 0.02}, tenant="flood") for _ in range(1500)])
        small = client.submit_many([NewJob("sleep", {}, tenant="small") for _ in range(20)])
        log.until_finished(small)
        # They passed what lay before them.
        assert not set(flood) <= log.finished
        log.until_finished(flood)
        assert running.worker.metrics.moved > 0
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert set(log.started.values()) == {1}


def starts_by_worker(log: EventLog) -> Counter[str]:
    """How many executions each worker has started."""
    log.read()
    return Counter(event.worker_id for event in log.starts)


def test_a_flood_of_the_only_tenant_is_shared_by_all_workers_and_moved_when_another_tenant_comes(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    workers = [RunningWorker(kafka.bootstrap, topics, jobs, name, **LITTLE_ROOM) for name in ("w1", "w2")]
    with workers[0], workers[1]:
        flood = client.submit_many([NewJob("sleep", {"seconds": 0.05}, tenant="flood") for _ in range(2400)])
        eventually(lambda: starts_by_worker(log), lambda ran: min(ran["w1"], ran["w2"]) >= 60)
        assert [each.worker.metrics.moved for each in workers] == [0, 0]
        small = client.submit_many([NewJob("sleep", {}, tenant="small") for _ in range(20)])
        log.until_finished(small)
        assert not set(flood) <= log.finished
        log.until_finished(flood)
        assert sum(each.worker.metrics.moved for each in workers) > 0
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert set(log.started.values()) == {1}


def test_a_flood_of_jobs_with_ordering_keys_is_passed_by_others_and_keeps_its_order(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, **LITTLE_ROOM) as running:
        flood = client.submit_many(
            [
                NewJob(
                    "sleep", {"seconds": 0.05}, tenant="flood", ordering_key=str(number % 50), labels={"n": str(number)}
                )
                for number in range(900)
            ]
        )
        small = client.submit_many([NewJob("sleep", {}, tenant="small") for _ in range(20)])
        log.until_finished([*flood, *small])
        assert running.worker.metrics.moved == 0
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    last_small = max(number for number, event in enumerate(log.starts) if event.tenant == "small")
    # With a limit of 100 that is not raised the worker would reach them when 700 of the others had ended.
    assert last_small < 500
    started: dict[str, list[int]] = {}
    for event in log.starts:
        if event.tenant == "flood":
            started.setdefault(event.ordering_key, []).append(int(event.labels["n"]))
    assert all(numbers == sorted(numbers) for numbers in started.values())


def test_heartbeats_and_health_endpoints_report_what_a_worker_does(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    port = free_port()
    with RunningWorker(kafka.bootstrap, topics, jobs, health_port=port, region="eu"):
        job_id = client.submit("sleep", {"seconds": 2.5})
        assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/live").text == "running\n"
        log.until_finished([job_id])
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'millstream_job_outcomes_total{job_type="sleep",kind="succeeded"} 1.0' in metrics
    heartbeats = TopicReader(kafka.bootstrap, topics.heartbeats)
    heartbeats.until(lambda: any(each.state is WorkerState.STOPPED for each in heartbeats.decoded(Heartbeat)))
    received = heartbeats.decoded(Heartbeat)
    assert any([job.job_id for job in each.in_flight] == [job_id] and each.busy == 1 for each in received)
    running = [each for each in received if each.state is WorkerState.RUNNING]
    assert all(each.region == "eu" and each.rss_bytes > 0 and each.capacity > 0 for each in running)
    heartbeats.close()


def test_the_lag_of_every_partition_is_exposed_and_0_when_nothing_waits(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    port = free_port()

    def lag() -> dict[str, float]:
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
        samples = [line.rsplit(" ", 1) for line in lines if line.startswith("messaging_kafka_consumer_lag{")]
        return {labels: float(value) for labels, value in samples if f'"{topics.lane("default")}"' in labels}

    with RunningWorker(
        kafka.bootstrap, topics, jobs, health_port=port, limit="fixed", concurrency=1, admission_jobs=10
    ):
        # A marker of the transaction is the last record of each partition.
        first = client.submit_many([NewJob("sleep", {"seconds": 0}) for _ in range(100)], atomic=True)
        log.until_finished(first)
        eventually(lag, lambda found: len(found) == 4 and not any(found.values()))
        # Of these it takes one fetch.
        waiting = client.submit_many([NewJob("sleep", {"seconds": 0.005}) for _ in range(2000)])
        eventually(lag, lambda found: 300 < sum(found.values()) <= 2000)
        log.until_finished(waiting)
        eventually(lag, lambda found: not any(found.values()))


def test_the_adaptive_limit_measures_successes_on_the_event_loop_and_nothing_else(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[tuple[str, float]] = []
    update = AdaptiveLimit.update

    def recording(self: AdaptiveLimit, samples: list[tuple[str, float]], *use: float) -> int:
        sampled.extend(samples)
        return update(self, samples, *use)  # type: ignore[arg-type]

    monkeypatch.setattr(AdaptiveLimit, "update", recording)
    with RunningWorker(kafka.bootstrap, topics, jobs, unknown_type_grace_s=0.0):
        ids = [client.submit(kind, {"seconds": 0.01}) for kind in ("sleep", "thread", "process", "sleep")]
        ids.append(client.submit("sleep", {"seconds": "not a number"}))
        ids.append(client.submit("nobody.knows", {}))
        log.until_finished(ids)
        time.sleep(1)
    assert [name for name, _ in sampled] == ["sleep", "sleep"]


def test_expired_cancellations_are_removed_from_the_topic_once_and_other_commands_stay(
    kafka: Broker, topics: TopicCatalogue
) -> None:
    # Requests of this catalogue live for a second, so its cancellations expire as soon.
    connection = KafkaConnection(kafka.bootstrap)
    short_lived = TopicCatalogue(topics.prefix, retention_days=1 / 86_400)
    for _ in range(20):
        send(kafka, topics, Action.CANCEL_JOB, Scope.JOB, new_id())
    send(kafka, topics, Action.PAUSE, Scope.TENANT, "acme")
    time.sleep(1.5)
    removed = [remove_expired_cancellations(connection, short_lived) for _ in range(2)]
    assert removed == [20, 0]
    assert standing(kafka, topics) == [Action.PAUSE]
