"""A user that Kafka does not let in is told so at once, by whatever it runs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from millstream.producers import AsyncJobClient, JobClient, NewJob, SubmitError
from millstream.rights.connection import ConnectionRejected, check_connection
from millstream.schemas import KafkaConnection
from tests.support.certificates import Authority
from tests.support.installation import Installation
from tests.support.secured_broker import SecuredBroker

REFUSED = 6


def changed(connection: KafkaConnection, **options: Any) -> KafkaConnection:
    made = {**connection.options, **{name.replace("_", "."): value for name, value in options.items()}}
    return KafkaConnection(connection.bootstrap, {name: value for name, value in made.items() if value is not None})


def test_the_cause_of_a_connection_that_is_rejected_is_named(secured_kafka: SecuredBroker, tmp_path: Path) -> None:
    good = secured_kafka.connection("worker")
    assert check_connection(good)
    other = str(Authority(tmp_path).ca_file)
    for rejected, cause in (
        (changed(good, sasl_password="wrong"), "invalid credentials"),
        (changed(good, sasl_username="nobody"), "user 'nobody'"),
        (changed(good, sasl_mechanism="PLAIN"), "mechanism"),
        (changed(good, ssl_ca_location=other), "certificate"),
        (changed(good, security_protocol="PLAINTEXT"), "security.protocol=PLAINTEXT"),
        (KafkaConnection(secured_kafka.unrestricted.bootstrap, good.options), "PLAINTEXT broker listener"),
    ):
        with pytest.raises(ConnectionRejected, match=cause):
            check_connection(rejected)
    with pytest.raises(KafkaException, match=r"ssl\.ca\.location"):
        check_connection(changed(good, ssl_ca_location="/nowhere"))


@pytest.mark.parametrize(
    "command",
    [
        ("submit", "t.add"),
        ("commands", "list"),
        ("topics", "apply"),
        ("worker", "handlers"),
        ("worker", "handlers", "--processes", "2"),
        ("tracker",),
        ("sink",),
    ],
    ids=" ".join,
)
def test_a_wrong_password_ends_every_command_and_service_with_one_error(
    installation: Installation, command: tuple[str, ...]
) -> None:
    found = installation.run("worker", *command, MILLSTREAM_KAFKA__SASL_PASSWORD="wrong")
    assert found.returncode == REFUSED, found.stderr
    told = " ".join(found.stderr.split())
    assert "as user 'worker': SASL authentication error" in told
    assert "Traceback" not in told


def test_doctor_says_that_the_password_is_wrong(installation: Installation) -> None:
    found = installation.run("doctor", "doctor", "--json", MILLSTREAM_KAFKA__SASL_PASSWORD="wrong")
    (kafka,) = (each for each in json.loads(found.stdout) if each["check"] == "kafka")
    assert "SASL authentication error" in kafka["detail"]
    assert "sasl_password" in kafka["fix"] and "millstream up" not in kafka["fix"]


async def test_a_client_that_was_never_let_in_fails_at_once(installation: Installation) -> None:
    wrong = installation.broker.connection("producer", "wrong").quiet
    began = time.monotonic()
    with JobClient(wrong, installation.topics) as jobs:
        with pytest.raises(SubmitError, match="SASL authentication error") as plain:
            jobs.submit("t.add")
        with pytest.raises(SubmitError, match="SASL authentication error"):
            jobs.submit_many([NewJob("t.add")], atomic=True)
    async with AsyncJobClient(wrong, installation.topics) as async_jobs:
        with pytest.raises(SubmitError, match="SASL authentication error"):
            await async_jobs.submit("t.add")
    assert plain.value.not_accepted and not plain.value.unknown
    # The time of one call is 30 s.
    assert time.monotonic() - began < 30
