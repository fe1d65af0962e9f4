"""A secure connection is made as configured or rejected, never weakened."""

import ssl
import time

import faust
import pytest

from millstream.schemas import KafkaConnection
from millstream.streams.credentials import Tokens, UnsupportedOption, credentials


def test_a_plain_connection_needs_none() -> None:
    assert credentials(KafkaConnection("b:1")) is None
    assert credentials(KafkaConnection("b:1", {"client.id": "x"})) is None


def test_sasl_over_tls_is_carried_over() -> None:
    options = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "me",
        "sasl.password": "pw",
    }
    found = credentials(KafkaConnection("b:1", options))
    assert isinstance(found, faust.SASLCredentials)
    assert (found.username, found.password, found.mechanism.value) == ("me", "pw", "SCRAM-SHA-256")
    assert found.ssl_context is not None and found.ssl_context.verify_mode is ssl.CERT_REQUIRED


def test_tls_verifies_the_broker() -> None:
    found = credentials(KafkaConnection("b:1", {"security.protocol": "ssl"}))
    assert isinstance(found, faust.SSLCredentials)
    assert found.context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "options",
    [
        {"security.protocol": "sasl_ssl", "sasl.kerberos.service.name": "kafka"},
        {"security.protocol": "sasl_ssl", "sasl.mechanism": "OAUTHBEARER"},
        {"security.protocol": "magic"},
    ],
)
def test_what_cannot_be_carried_over_is_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(UnsupportedOption, match=r"kerberos|OAUTHBEARER|magic"):
        credentials(KafkaConnection("b:1", options))


async def test_a_token_is_asked_for_again_before_it_expires() -> None:
    asked: list[str] = []

    def ask(config: str) -> tuple[str, float]:
        asked.append(config)
        # The first one is about to expire.
        return f"token-{len(asked)}", time.time() + (0 if len(asked) == 1 else 3600)

    tokens = Tokens(ask, "scope=jobs")
    assert [await tokens.token() for _ in range(3)] == ["token-1", "token-2", "token-2"]
    assert asked == ["scope=jobs"] * 2
