"""`tables check`, `tables repair` and `doctor` on tables that disagree with the raw rows."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer

from millstream.analytics.warehouse.pause import pausing
from millstream.consumers.sink import Sink, SinkConfig
from millstream.consumers.sink.intent import Intent
from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.job_events import CODEC, life_of_jobs
from tests.support.waiting import until

AROUND = datetime.now(UTC) - timedelta(hours=1)

Run = Callable[..., Any]


@pytest.fixture
def run(kafka: Broker, topics: TopicCatalogue, clickhouse: Client, clickhouse_url: str, tmp_path: Path) -> Run:
    """Runs a command with --json in an empty folder, on this test's own topics and database; returns the answer."""

    def millstream(*arguments: str, code: int = 0) -> Any:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
        ours = {
            "MILLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
            "MILLSTREAM_TOPICS__PARTITIONS": "4",
            "MILLSTREAM_CLICKHOUSE__URL": clickhouse_url,
            "MILLSTREAM_CLICKHOUSE__DATABASE": str(clickhouse.database),
            "MILLSTREAM_SINK__GROUP": topics.prefix,
        }
        done = subprocess.run(
            [sys.executable, "-m", "millstream", *arguments, "--json"],
            cwd=tmp_path,
            env=plain | ours,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    return millstream


@pytest.fixture
def rows(kafka: Broker, topics: TopicCatalogue, clickhouse: Client) -> int:
    """Events of an hour ago in partition 0, inserted and acknowledged; how many there are."""
    connection = KafkaConnection(kafka.bootstrap)
    producer = Producer(connection.producer())
    events = list(life_of_jobs(50, around=AROUND))
    for key, value in events:
        producer.produce(topics.events, value, key, partition=0)
    producer.flush()
    sink, stop = Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix)), threading.Event()
    thread = threading.Thread(target=sink.run, args=(stop,))
    thread.start()
    until(lambda: sink.status.rows_inserted == len(events))
    stop.set()
    thread.join(30)
    return len(events)


def test_what_disagrees_is_shown_by_check_and_doctor_and_repaired(run: Run, rows: int, clickhouse: Client) -> None:
    assert run("tables", "check") == []
    clickhouse.command("ALTER TABLE cost_1m DELETE WHERE outcome = 'failed' SETTINGS mutations_sync = 2")
    found = run("tables", "check", code=1)
    assert {each["table"] for each in found} == {"cost_1m"}
    assert all(each["rows_in_table"] < each["rows_from_raw"] for each in found)
    (rollups,) = (each for each in run("doctor", code=1) if each["check"] == "rollups")
    assert rollups["status"] == "failed" and "cost_1m" in rollups["detail"] and "tables repair" in rollups["fix"]
    assert run("tables", "repair")["rebuilt"] == found
    assert run("tables", "check") == [] and pausing(clickhouse) == []
    assert run("tables", "repair") == {"rebuilt": [], "announced": [], "without_raw_rows": []}


def test_what_a_sink_has_announced_is_left_until_it_is_acknowledged(
    run: Run, rows: int, kafka: Broker, topics: TopicCatalogue, clickhouse: Client
) -> None:
    consumer = Consumer(KafkaConnection(kafka.bootstrap).consumer(topics.prefix))
    cluster_id = str(consumer.list_topics(timeout=10).cluster_id)
    consumer.commit(offsets=[Intent(0, rows).announcement(cluster_id, topics.events, 0)], asynchronous=False)
    consumer.close()
    clickhouse.command("ALTER TABLE cost_1m DELETE WHERE outcome = 'failed' SETTINGS mutations_sync = 2")
    found = run("tables", "check", code=1)
    done = run("tables", "repair", code=1)
    assert done == {"rebuilt": [], "announced": found, "without_raw_rows": []}
    assert run("tables", "check", code=1) == found
