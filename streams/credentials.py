"""Translates librdkafka's security properties to Faust's."""

import asyncio
import ssl
import time

import faust
from aiokafka.abc import AbstractTokenProvider
from faust.types.auth import CredentialsT

from millstream.schemas import KafkaConnection
from millstream.schemas.oauth import TokenFunction, token_function

RENEW_AFTER = 0.8
_IGNORED = {"client.id", "log_level", "debug", "statistics.interval.ms"}


class UnsupportedOption(ValueError):
    """A client option without a counterpart in Faust's Kafka client."""


def credentials(connection: KafkaConnection) -> CredentialsT | None:
    """Faust's `broker_credentials` for a connection's librdkafka properties; None for a plain connection.

    Raises `UnsupportedOption` naming the property, so that no security setting is ignored silently, and
    `InvalidTokenFunction`.
    """
    left = {name: str(value) for name, value in connection.options.items() if name not in _IGNORED}
    protocol = left.pop("security.protocol", "plaintext").lower()
    context = _context(left) if protocol in ("ssl", "sasl_ssl") else None
    default = "OAUTHBEARER" if connection.oauth_token else "PLAIN"
    mechanism = left.pop("sasl.mechanism", left.pop("sasl.mechanisms", default))
    found: CredentialsT | None = None
    if protocol.startswith("sasl_") and mechanism == "OAUTHBEARER":
        if not connection.oauth_token:
            raise UnsupportedOption("sasl.mechanism=OAUTHBEARER: the tracker supports it with kafka.oauth_token only")
        tokens = Tokens(token_function(connection.oauth_token), left.pop("sasl.oauthbearer.config", ""))
        found = faust.OAuthCredentials(oauth_cb=tokens, ssl_context=context)
    elif protocol.startswith("sasl_"):
        found = faust.SASLCredentials(
            username=left.pop("sasl.username", ""),
            password=left.pop("sasl.password", ""),
            mechanism=mechanism,
            ssl_context=context,
        )
    elif protocol == "ssl":
        found = faust.SSLCredentials(context)
    elif protocol != "plaintext":
        raise UnsupportedOption(
            f"security.protocol={protocol}: the tracker supports plaintext, ssl, sasl_plaintext, sasl_ssl"
        )
    if left:
        raise UnsupportedOption(f"the tracker's Kafka client does not support {', '.join(sorted(left))}")
    return found


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Gives aiokafka's clients a token when they connect, and asks for another one when it has lived for four fifths of
    its time. May be used from several event loops."""

    def __init__(self, ask: TokenFunction, config: str) -> None:
        self._ask = ask
        self._config = config
        self._token = ""
        self._renew_at = 0.0

    async def token(self) -> str:
        """The token of now. Raises what the function raises."""
        now = time.time()
        if now >= self._renew_at:
            self._token, expires_at = await asyncio.to_thread(self._ask, self._config)
            self._renew_at = now + RENEW_AFTER * (expires_at - now)
        return self._token


def _context(left: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=left.pop("ssl.ca.location", None))
    certificate = left.pop("ssl.certificate.location", None)
    if certificate:
        context.load_cert_chain(certificate, left.pop("ssl.key.location", None), left.pop("ssl.key.password", None))
    return context
