"""The metrics that a worker exposes are exactly those of the list."""

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.offset_ledger import Checkpoint, OffsetLedger
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, cancelled
from millstream.consumers.worker.monitoring.metrics import METRICS, OTHER, MetricSpec, WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, JobRequest, RequestReader
from tests.support.paths import ROOT

CODEC = Codec()
DOCS = ROOT / "docs"


def ended(job_type: str, outcome: Any = SUCCEEDED) -> Execution:
    value = CODEC.encode(JobRequest(tenant="acme", job_type=job_type, payload=b"{}"))
    execution = Execution(Assignment("jobs.default", 0, "default"), 0, value, RequestReader(CODEC).read(value))
    execution.begin()
    execution.cpu_ns = 2_000_000_000
    execution.end(outcome)
    return execution


def statistics(**partition: int) -> str:
    """What librdkafka says of a consumer that was assigned the partition 0 of `jobs.default`."""
    partitions = {"0": {"consumer_lag": -1, "lo_offset": 0, **partition}, "-1": {"consumer_lag": -1}}
    brokers = {"b": {"nodename": "host:1", "rtt": {"avg": 1500, "cnt": 2}}}
    return json.dumps({"topics": {"jobs.default": {"partitions": partitions}}, "brokers": brokers})


@pytest.fixture
def changed() -> WorkerMetrics:
    """WorkerMetrics that have all changed."""
    load: Any = SimpleNamespace(running=3, queued_by_tenant=lambda: Counter(acme=4))
    status = WorkerStatus()
    status.load = load
    metrics = WorkerMetrics(status, ["mail.send"])
    metrics.ended(ended("mail.send"))
    metrics.transactions.observe(0.02)
    metrics.stuck = {"mail.send": 1}
    metrics.count_rejected("jobs.heartbeats")
    metrics.read_statistics(
        "default",
        statistics(ls_offset=10, app_offset=3),
        {("jobs.default", 0): Assignment("jobs.default", 0)},
    )
    return metrics


def test_every_metric_of_the_list_is_exposed_with_its_type_and_labels_and_no_other(changed: WorkerMetrics) -> None:
    exposed = {family.name: family for family in changed.collect()}
    assert list(exposed) == [metric.name for metric in METRICS]
    for metric in METRICS:
        family = exposed[metric.name]
        assert (family.type, family.documentation) == (metric.type, metric.meaning)
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == set(metric.labels), metric.name
        assert family.samples


def test_seconds_are_named_and_counted_in_seconds(changed: WorkerMetrics) -> None:
    assert all((metric.unit == "seconds") == metric.name.endswith("_seconds") for metric in METRICS)
    exposed = {sample.name: sample.value for family in changed.collect() for sample in family.samples}
    assert exposed["millstream_job_cpu_seconds_total"] == 2
    assert exposed["messaging_kafka_broker_rtt_seconds"] == 0.0015
    assert exposed["messaging_kafka_consumer_lag"] == 7


@pytest.mark.parametrize(
    ("state", "partition", "lag"),
    [
        ({}, {"ls_offset": 20, "app_offset": 20}, 0),
        ({"passed": True}, {"ls_offset": 20, "app_offset": 20}, 10),
        ({"paused": True}, {"ls_offset": 20, "app_offset": 20}, 10),
        ({}, {"ls_offset": 20, "app_offset": -1001}, 10),
        ({}, {"ls_offset": 20, "app_offset": 12, "lo_offset": 15}, 5),
        ({}, {"ls_offset": -1001, "app_offset": -1001}, 0),
    ],
    ids=["markers at the end", "only looked at", "paused", "nothing delivered yet", "deleted unread", "not asked yet"],
)
def test_the_lag_is_what_was_not_taken_and_0_when_only_markers_of_transactions_follow(
    state: dict[str, Any], partition: dict[str, int], lag: int
) -> None:
    metrics = WorkerMetrics(WorkerStatus())
    assignment = Assignment("jobs.default", 0, ledger=OffsetLedger(Checkpoint(10)), **state)
    metrics.read_statistics("default", statistics(**partition), {assignment.topic_partition: assignment})
    (found,) = [family for family in metrics.collect() if family.name == "messaging_kafka_consumer_lag"]
    assert [(sample.labels, sample.value) for sample in found.samples] == [
        ({"topic": "jobs.default", "partition": "0"}, lag)
    ]


@pytest.mark.parametrize(("state", "connected"), [("UP", True), ("CONNECT", False), ("DOWN", False)])
def test_the_statistics_say_whether_a_broker_answers(state: str, connected: bool) -> None:
    noted: list[Any] = []
    status = WorkerStatus()
    status.brokers.note = lambda *said: noted.append(said[:2])  # type: ignore[method-assign]
    text = json.dumps({"brokers": {"b": {"nodename": "host:1", "state": state}}})
    WorkerMetrics(status).read_statistics("default", text, {})
    assert noted == [("default", connected)]


def test_job_types_that_no_handler_has_share_one_label() -> None:
    metrics = WorkerMetrics(WorkerStatus(), ["mail.send"])
    for number in range(1000):
        metrics.ended(ended(f"made.up.{number}", cancelled("no")))
    metrics.ended(ended("mail.send"))
    labels = {
        sample.labels["job_type"]
        for family in metrics.collect()
        for sample in family.samples
        if "job_type" in sample.labels
    }
    assert labels == {"mail.send", OTHER}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_documentation_lists_the_metric_as_it_is(metric: MetricSpec) -> None:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    row = f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.meaning} |"
    assert row in (DOCS / "worker.md").read_text("utf-8").splitlines()
