"""A secure connection is made as configured or rejected, never weakened."""

import ssl

import faust
import pytest

from millstream.streams.credentials import UnsupportedOption, credentials


def test_a_plain_connection_needs_none() -> None:
    assert credentials({}) is None
    assert credentials({"client.id": "x"}) is None


def test_sasl_over_tls_is_carried_over() -> None:
    found = credentials(
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": "me",
            "sasl.password": "pw",
        }
    )
    assert isinstance(found, faust.SASLCredentials)
    assert (found.username, found.password, found.mechanism.value) == ("me", "pw", "SCRAM-SHA-256")
    assert found.ssl_context is not None and found.ssl_context.verify_mode is ssl.CERT_REQUIRED


def test_tls_verifies_the_broker() -> None:
    found = credentials({"security.protocol": "ssl"})
    assert isinstance(found, faust.SSLCredentials)
    assert found.context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "options",
    [{"security.protocol": "sasl_ssl", "sasl.kerberos.service.name": "kafka"}, {"security.protocol": "magic"}],
)
def test_what_cannot_be_carried_over_is_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(UnsupportedOption, match=r"kerberos|magic"):
        credentials(options)
