"""Where secrets hide in settings: in addresses, and among the properties of a client. Pure."""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

MASK = "**********"

_SHOWN = frozenset(
    {
        *(
            "sasl.mechanism",
            "sasl.mechanisms",
            "sasl.username",
            "sasl.kerberos.service.name",
            "sasl.kerberos.principal",
        ),
        *("sasl.kerberos.keytab", "sasl.kerberos.min.time.before.relogin", "enable.sasl.oauthbearer.unsecure.jwt"),
        *("sasl.oauthbearer.method", "sasl.oauthbearer.client.id", "sasl.oauthbearer.scope"),
        *("sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.grant.type"),
        *("ssl.ca.location", "ssl.ca.certificate.stores", "ssl.certificate.location", "ssl.key.location"),
        *("ssl.crl.location", "ssl.keystore.location", "ssl.engine.location", "ssl.providers"),
        *("ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list", "ssl.endpoint.identification.algorithm"),
        *("https.ca.location", "enable.ssl.certificate.verification"),
    }
)
"""Properties of security that hold no secret. Every other one may, also one that is misspelled."""

_ABOUT_SECURITY = ("sasl", "ssl", "oauth", "pass", "secret", "token", "key", "credential", "auth", "pem")


def shown_options(options: Mapping[str, object]) -> dict[str, object]:
    """Client properties with the values masked that may be secrets."""
    return {name: MASK if _may_be_secret(name, value) else value for name, value in options.items()}


def split_credentials(url: str) -> tuple[str, str, str]:
    """An address without `user:password@`, the user and the password; both are empty if there are none."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    info, at, host = authority.rpartition("@")
    if not (separator and at):
        return url, "", ""
    user, _, password = info.partition(":")
    return f"{scheme}://{host}{slash}{path}", unquote(user), unquote(password)


def names_a_secret(name: str) -> bool:
    """Whether a name is one that a secret may have."""
    return any(word in name.lower() for word in _ABOUT_SECURITY)


def _may_be_secret(name: str, value: object) -> bool:
    if name in _SHOWN:
        return isinstance(value, str) and "@" in urlsplit(value).netloc
    if isinstance(value, bool | int | float):
        return False
    return names_a_secret(name) or "@" in str(value)
