"""Tables are rebuilt from Kafka, and nothing of them is there twice or, unasked, gone."""

import json
import threading
import time
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.cli.app import app
from millstream.cli.failure import Failure
from millstream.consumers.sink import Sink, SinkConfig
from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.support.job_events import CODEC, life_of_jobs
from tests.support.rollups import counts

JOBS = 400


@pytest.fixture
def filled(
    kafka: Broker,
    topics: TopicCatalogue,
    clickhouse: Client,
    clickhouse_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Sink:
    """A sink that is not running, the tables it filled, and the settings to reach all of it."""
    for name, value in {
        "KAFKA__BOOTSTRAP": kafka.bootstrap,
        "CLICKHOUSE__URL": clickhouse_url,
        "CLICKHOUSE__DATABASE": str(clickhouse.database),
        "TOPICS__PREFIX": topics.prefix,
        "SINK__GROUP": topics.prefix,
    }.items():
        monkeypatch.setenv(f"MILLSTREAM_{name}", value)
    send(kafka, topics)
    config = SinkConfig(group=topics.prefix, max_rows=300, min_age_s=0.02)
    sink = Sink(KafkaConnection(kafka.bootstrap), topics, clickhouse, CODEC, config)
    fill(sink, clickhouse, 3 * JOBS)
    return sink


def send(kafka: Broker, topics: TopicCatalogue) -> None:
    producer = Producer(KafkaConnection(kafka.bootstrap).producer())
    for key, value in life_of_jobs(JOBS):
        producer.produce(topics.events, value, key)
    producer.flush()


def fill(sink: Sink, client: Client, rows: int) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=sink.run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + 40
        while counts(client)["raw"] < rows:
            assert time.monotonic() < deadline, counts(client)
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(30)


def group_has_members(kafka: Broker, group: str) -> bool:
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    return bool(admin.describe_consumer_groups([group])[group].result(10).members)


def rewound(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["sink", "rewind", "--json", *arguments], catch_exceptions=False)
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_tables_are_rebuilt_as_they_were(filled: Sink, clickhouse: Client) -> None:
    before = counts(clickhouse)
    found = rewound()
    assert found["lost"] == []
    assert {"job_events", "job_attempts", "jobs", "cost_1m", "cost_1h", "lane_latency_1m"} <= set(found["tables"])  # type: ignore[call-overload]
    assert not any(counts(clickhouse).values())
    fill(filled, clickhouse, 3 * JOBS)
    assert counts(clickhouse) == before
    assert disagreements(clickhouse) == []


def test_from_a_time_on_only_what_came_since_is_kept(
    filled: Sink, kafka: Broker, topics: TopicCatalogue, clickhouse: Client
) -> None:
    time.sleep(0.1)
    since = datetime.now(UTC)
    send(kafka, topics)
    fill(filled, clickhouse, 6 * JOBS)
    moment = f"{since:%Y-%m-%dT%H:%M:%S.%f}"
    with pytest.raises(
        Failure, match=r"would be lost: 1,200 rows of job_events \(since 20.*\), .* of throughput_1m \("
    ):
        rewound("--from", moment)
    assert counts(clickhouse)["raw"] == 6 * JOBS
    lost = {each["table"]: each["rows"] for each in rewound("--from", moment, "--yes")["lost"]}  # type: ignore[attr-defined]
    assert lost["job_events"] == 3 * JOBS
    fill(filled, clickhouse, 3 * JOBS)
    assert counts(clickhouse)["raw"] == counts(clickhouse)["distinct"] == 3 * JOBS
    assert disagreements(clickhouse) == []


def test_rows_of_an_earlier_topic_of_that_name_are_lost_only_with_consent(
    filled: Sink, kafka: Broker, topics: TopicCatalogue, clickhouse: Client
) -> None:
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    admin.delete_topics([topics.events])[topics.events].result(10)
    deadline = time.monotonic() + 20
    while topics.events in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    apply_topics(KafkaConnection(kafka.bootstrap), topics)
    with pytest.raises(Failure, match="would be lost: 1,200 rows of job_events"):
        rewound()
    assert counts(clickhouse)["raw"] == 3 * JOBS


def test_rollups_that_outlived_their_rows_are_lost_only_with_consent(filled: Sink, clickhouse: Client) -> None:
    clickhouse.command("TRUNCATE TABLE job_events")
    before = counts(clickhouse)["throughput"]
    with pytest.raises(Failure, match=r"would be lost: .* of throughput_1m"):
        rewound()
    assert counts(clickhouse)["throughput"] == before == 3 * JOBS


def test_a_running_sink_is_in_the_way(filled: Sink, kafka: Broker, topics: TopicCatalogue, clickhouse: Client) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=filled.run, args=(stop,))
    thread.start()
    try:
        # The group says that it has members from the moment the sink asks to join.
        deadline = time.monotonic() + 20
        while not group_has_members(kafka, topics.prefix):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(Failure, match="members"):
            rewound()
        assert counts(clickhouse)["raw"] == 3 * JOBS
    finally:
        stop.set()
        thread.join(30)


def test_a_table_that_no_sink_fills_is_named(filled: Sink) -> None:
    with pytest.raises(Failure, match="no sink fills a table 'budgets'"):
        rewound("--table", "budgets")
