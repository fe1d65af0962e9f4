"""The client settings that are part of the contract."""

from millstream.schemas import KafkaConnection
from millstream.schemas.connection import METADATA_REFRESH_MS
from millstream.topic_growth import SETTLE_S

REFRESH = "topic.metadata.refresh.interval.ms"


def test_every_client_learns_of_new_partitions_before_a_growth_is_finished() -> None:
    connection = KafkaConnection("broker:9092")
    for settings in (connection.client(), connection.producer(), connection.consumer("group")):
        assert settings[REFRESH] == METADATA_REFRESH_MS
    assert METADATA_REFRESH_MS / 1000 < SETTLE_S


def test_an_option_of_the_connection_replaces_a_setting() -> None:
    assert KafkaConnection("broker:9092", {REFRESH: 1_000}).producer()[REFRESH] == 1_000
