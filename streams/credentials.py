"""Translates librdkafka's security properties to Faust's."""

import ssl
from collections.abc import Mapping

import faust
from faust.types.auth import CredentialsT

_IGNORED = {"client.id", "log_level", "debug", "statistics.interval.ms"}


class UnsupportedOption(ValueError):
    """A client option without a counterpart in Faust's Kafka client."""


def credentials(options: Mapping[str, str | int | float | bool]) -> CredentialsT | None:
    """Faust's `broker_credentials` for these librdkafka properties; None for a plain connection.

    Raises `UnsupportedOption` naming the property, so that no security setting is ignored silently.
    """
    left = {name: str(value) for name, value in options.items() if name not in _IGNORED}
    protocol = left.pop("security.protocol", "plaintext").lower()
    context = _context(left) if protocol in ("ssl", "sasl_ssl") else None
    found: CredentialsT | None = None
    if protocol.startswith("sasl_"):
        found = faust.SASLCredentials(
            username=left.pop("sasl.username", ""),
            password=left.pop("sasl.password", ""),
            mechanism=left.pop("sasl.mechanism", left.pop("sasl.mechanisms", "PLAIN")),
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


def _context(left: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=left.pop("ssl.ca.location", None))
    certificate = left.pop("ssl.certificate.location", None)
    if certificate:
        context.load_cert_chain(certificate, left.pop("ssl.key.location", None), left.pop("ssl.key.password", None))
    return context
