"""The brokers that tests run on: chosen by what the machine has, started once a session, and counted."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from millstream.local.broker import ApacheKafka, Broker, Tansu
from millstream.local.broker.address import Address
from millstream.local.broker.apache import missing_for_apache
from millstream.local.broker.artifacts import KAFKA_VERSION
from millstream.local.broker.tansu import missing_for_tansu
from millstream.schemas import KafkaConnection

BROKER_FIXTURES = {
    "kafka": "apache x1",
    "kafka_cluster": "apache x3",
    "tansu": "tansu",
}
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1"
"""Brokers of tests live for minutes: Java's optimising compiler would cost them more CPU time than it saves."""

PROPERTY = "broker"
"""The property of a test's report that names the broker it ran on."""


@cache
def docker_engine() -> bool:
    """Whether containers can be started here."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def available() -> str:
    """What this machine offers, for the header of the test run."""
    no_apache, no_tansu = missing_for_apache(), missing_for_tansu()
    offers = [
        f"apache {KAFKA_VERSION}" if not no_apache else f"no apache ({no_apache})",
        "tansu" if not no_tansu else f"no tansu ({no_tansu})",
        "docker" if docker_engine() else "no docker engine",
    ]
    return "brokers: " + ", ".join(offers)


def apache(folder: Path, nodes: int) -> Iterator[ApacheKafka]:
    """A running cluster, or a skipped test."""
    if reason := missing_for_apache():
        pytest.skip(f"needs Apache Kafka: {reason}")
    cluster = ApacheKafka(folder, nodes, light=True)
    cluster.start()
    yield cluster
    cluster.stop()


def container() -> Iterator[Broker]:
    """Apache Kafka in a container, where Docker is and Maven is not."""
    from testcontainers.kafka import KafkaContainer

    with KafkaContainer(f"apache/kafka:{KAFKA_VERSION}") as running:
        yield Address(running.get_bootstrap_server())


def one_node(folder: Path) -> Iterator[Broker]:
    """One node of Apache Kafka, however this machine can run it, or a skipped test."""
    if missing_for_apache() and docker_engine():
        yield from container()
    else:
        yield from apache(folder, 1)


def tansu(folder: Path) -> Iterator[Tansu]:
    """A running Tansu, or a skipped test."""
    if reason := missing_for_tansu():
        pytest.skip(f"needs Tansu: {reason}")
    broker = Tansu(folder)
    broker.start()
    yield broker
    # It ignores SIGTERM for longer than a test should wait, and keeps nothing.
    broker.process.kill()


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name starts with `prefix`; returns when the broker has accepted it."""
    client = AdminClient(KafkaConnection(bootstrap).client())
    if names := [name for name in client.list_topics(timeout=10).topics if name.startswith(prefix)]:
        for done in client.delete_topics(names, operation_timeout=0).values():
            done.result(30)


def set_largest_record(bootstrap: str, topic: str, size: int) -> None:
    """Change how large a record the broker accepts for a topic."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(KafkaConnection(bootstrap).client())
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(10)


class BrokerCount:
    """Counts how many tests ran on which broker. A pytest plugin, which also works with the workers of pytest-xdist."""

    def __init__(self) -> None:
        self._ran: Counter[str] = Counter()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        used = {name for fixture, name in BROKER_FIXTURES.items() if fixture in getattr(item, "fixturenames", ())}
        chosen = getattr(item, "callspec", None)
        if chosen and "any_broker" in chosen.params:
            # A parametrised fixture names all its brokers; this run of the test uses one.
            used = {BROKER_FIXTURES[chosen.params["any_broker"]]}
        item.user_properties += [(PROPERTY, name) for name in sorted(used or {"no broker"})]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._ran.update(str(value) for name, value in report.user_properties if name == PROPERTY)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        counted = ", ".join(f"{name}: {count}" for name, count in sorted(self._ran.items()))
        terminalreporter.write_line(f"tests ran on {counted or 'nothing'}")
