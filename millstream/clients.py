"""Clients as configured: by the environment, `millstream.toml`, or the stack that `millstream up` runs here."""

from typing import TypedDict, Unpack

from millstream.producers import AsyncJobClient, JobClient
from millstream.settings import load


class ClientOptions(TypedDict, total=False):
    """The options of `JobClient` that are not settings."""

    max_payload_bytes: int
    linger_ms: float
    delivery_timeout_s: float


class AsyncClientOptions(ClientOptions, total=False):
    """The options of `AsyncJobClient` that are not settings."""

    max_pending: int


def job_client(source: str = "", **options: Unpack[ClientOptions]) -> JobClient:
    """A `JobClient` with the addresses, security, topic names and schemas of the settings.

        with job_client(source="billing") as jobs:
            jobs.submit("reports.render", {"report": 7}, tenant="acme")

    `options` are those of `JobClient`. Raises `InvalidSettings`.
    """
    settings = load()
    return JobClient(settings.connection, settings.catalogue, settings.codec, source=source, **options)


def async_job_client(source: str = "", **options: Unpack[AsyncClientOptions]) -> AsyncJobClient:
    """The same for `AsyncJobClient`. Raises `InvalidSettings`."""
    settings = load()
    return AsyncJobClient(settings.connection, settings.catalogue, settings.codec, source=source, **options)
