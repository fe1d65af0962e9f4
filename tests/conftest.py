"""Fixtures for all tests: brokers, ClickHouse, and a topic prefix of each test's own."""

import os
import uuid
from collections.abc import Generator, Iterator

import pytest
from clickhouse_connect.driver.client import Client

from millstream.local.broker import ApacheKafka, Broker, Tansu
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.support import brokers, groups
from tests.support.databases import TestDatabase
from tests.support.scenarios import Figures


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("JAVA_TOOL_OPTIONS", brokers.JAVA_OPTIONS)
    config.pluginmanager.register(brokers.BrokerCount(), "millstream-broker-count")
    config.pluginmanager.register(Figures(), "millstream-figures")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    groups.arrange(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return groups.scheduler(config, log)


def pytest_report_header() -> str:
    return brokers.available()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka, one node."""
    yield from brokers.one_node(tmp_path_factory.mktemp("kafka"))


CLUSTER = pytest.StashKey[ApacheKafka]()


@pytest.fixture(scope="session")
def kafka_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Apache Kafka, three nodes that a test may kill and start again (and leaves running)."""
    for cluster in brokers.apache(tmp_path_factory.mktemp("cluster"), 3):
        request.session.stash[CLUSTER] = cluster
        yield cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Stop the cluster after its group of tests: three nodes take CPU time from the other tests also while idle."""
    yield
    if (cluster := item.session.stash.get(CLUSTER, None)) and not (nextitem and groups.on_cluster(nextitem)):
        cluster.stop()


@pytest.fixture(scope="session")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tansu]:
    yield from brokers.tansu(tmp_path_factory.mktemp("tansu"))


@pytest.fixture(params=["kafka", "tansu"])
def any_broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, for the tests that hold on all of them."""
    broker: Broker = request.getfixturevalue(request.param)
    return broker


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """A topic prefix of this test's own; its topics are deleted afterwards from every broker that the test used."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    names = {"kafka", "kafka_cluster", "tansu", "any_broker"} & set(request.fixturenames)
    used: list[Broker] = [request.getfixturevalue(name) for name in names]
    yield prefix
    for broker in used:
        brokers.delete_topics(broker.bootstrap, prefix)


@pytest.fixture
def topics(kafka: Broker, topic_prefix: str) -> TopicCatalogue:
    """This test's own topics on Apache Kafka, four partitions each."""
    catalogue = TopicCatalogue(topic_prefix, partitions=4)
    apply_topics(KafkaConnection(kafka.bootstrap), catalogue)
    return catalogue


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """ClickHouse's HTTP interface: the server named by MILLSTREAM_TEST_CLICKHOUSE_URL, or the embedded engine."""
    if url := os.environ.get("MILLSTREAM_TEST_CLICKHOUSE_URL"):
        yield url
        return
    from millstream.local.clickhouse.process import EmbeddedClickHouse

    with EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse"), password="") as server:
        yield server.url


@pytest.fixture(scope="session")
def shared_database(clickhouse_url: str) -> Iterator[TestDatabase]:
    database = TestDatabase(clickhouse_url)
    yield database
    database.drop()


@pytest.fixture
def clickhouse(shared_database: TestDatabase) -> Iterator[Client]:
    """A client on a database with this release's tables, empty but for what the migrations insert."""
    yield shared_database.client()
    shared_database.restore()


@pytest.fixture
def own_clickhouse(clickhouse_url: str) -> Iterator[Client]:
    """A client on a database of this test's own, with this release's tables: for tests that change the tables."""
    database = TestDatabase(clickhouse_url)
    yield database.client()
    database.drop()
