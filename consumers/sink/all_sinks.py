"""The sinks of one process: one for the events, one for each low-volume topic."""

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from clickhouse_connect.driver.client import Client

from millstream.consumers.kafka.broker_status import BrokerStatus
from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.sink import Sink
from millstream.consumers.sink.sources import EVENTS, LOW_VOLUME, Source
from millstream.redaction import Redaction
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue


def all_sinks(
    connection: KafkaConnection,
    topics: TopicCatalogue,
    client: Client,
    codec: Codec,
    config: SinkConfig,
    redaction: Redaction | None = None,
) -> list[Sink]:
    """A sink for every topic that has a table, the events' first."""
    brokers = BrokerStatus()
    configs = {EVENTS: config} | {each: low_volume(config, each) for each in LOW_VOLUME}
    return [
        Sink(connection, topics, client, codec, each, source, redaction, brokers) for source, each in configs.items()
    ]


def low_volume(config: SinkConfig, source: Source) -> SinkConfig:
    """The configuration of a low-volume topic's sink."""
    age_s = config.min_age_s if source.age_s is None else source.age_s
    return config.model_copy(
        update={
            "group": source.group(config.group),
            "min_age_s": age_s,
            "max_age_s": max(age_s, config.max_age_s),
            "max_buffered_bytes": config.max_buffered_bytes // 8,
            "parallel_inserts": 1,
        }
    )


def run_together(sinks: Sequence[Sink], stop: threading.Event) -> None:
    """Run all until `stop` is set, or until one of them cannot go on: then all stop and its error is raised."""
    with ThreadPoolExecutor(len(sinks), thread_name_prefix="sink") as pool:
        running = [pool.submit(sink.run, stop) for sink in sinks]
        wait(running, return_when=FIRST_EXCEPTION)
        stop.set()
        for each in running:
            each.result()
