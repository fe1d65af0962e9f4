"""What is said about the settings of the brokers."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka.admin import AdminClient

from millstream import doctor
from millstream.settings import Settings


def told(**settings: str) -> dict[str, str]:
    """The status of each check, with brokers that have these settings."""
    values = {"transaction.max.timeout.ms": "900000", "offsets.retention.minutes": "20160"}
    values |= {name.replace("_", "."): value for name, value in settings.items()}
    answer: Future[Any] = Future()
    answer.set_result({name: SimpleNamespace(value=value) for name, value in values.items()})
    admin = SimpleNamespace(describe_configs=lambda resources, **_: {resources[0]: answer})
    results = doctor._broker_settings(Settings(), cast(AdminClient, admin), 1)
    return {f"{each.check}: {each.detail.split(' ')[0]}": each.status for each in results}


def test_settings_that_suit_are_ok() -> None:
    assert set(told().values()) == {"ok"}


def test_commits_that_expire_before_the_jobs_they_are_about_are_a_warning() -> None:
    # By default Kafka keeps the commits of a group without members for 7 days.
    assert told(offsets_retention_minutes="10080")["offsets retention: offsets.retention.minutes"] == "warning"


def test_a_broker_that_accepts_little_commit_metadata_is_a_warning() -> None:
    assert told(offset_metadata_max_bytes="512")["broker settings: offset.metadata.max.bytes"] == "warning"
