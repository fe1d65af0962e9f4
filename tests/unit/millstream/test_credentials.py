"""A secret in an address or among client properties is recognised, also under a misspelled name."""

import pytest

from millstream.credentials import MASK, shown_options, split_credentials


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "sasl.pasword",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.of.tomorrow",
        "my.token",
    ],
)
def test_a_property_that_may_hold_a_secret_is_masked(name: str) -> None:
    assert shown_options({name: "hunter2"}) == {name: MASK}


def test_other_properties_are_shown() -> None:
    options = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.ca.location": "/etc/ca.pem",
        "sasl.oauthbearer.token.endpoint.url": "https://id.example/token",
        "enable.ssl.certificate.verification": True,
        "socket.timeout.ms": 1000,
    }
    assert shown_options(options) == options


def test_a_password_in_an_address_among_the_properties_is_masked() -> None:
    url = "https://me:hunter2@id.example/token"
    assert shown_options({"sasl.oauthbearer.token.endpoint.url": url}) == {"sasl.oauthbearer.token.endpoint.url": MASK}


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://me:hunter2@host:8123/x", ("http://host:8123/x", "me", "hunter2")),
        ("http://me:hun%40ter2@host", ("http://host", "me", "hun@ter2")),
        ("http://me:a@b@host", ("http://host", "me", "a@b")),
        ("http://me@host", ("http://host", "me", "")),
        ("http://host:8123/a@b", ("http://host:8123/a@b", "", "")),
        ("host:8123", ("host:8123", "", "")),
    ],
)
def test_an_address_is_taken_apart(url: str, parts: tuple[str, str, str]) -> None:
    assert split_credentials(url) == parts
