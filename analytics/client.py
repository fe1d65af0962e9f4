"""The one place that connects to ClickHouse, always over its HTTP interface."""

import logging
import re
from dataclasses import dataclass

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from millstream.analytics.address import http_address

# The driver logs a stack trace of every failed request, beside the exception that it raises.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)


_AUTHENTICATION_FAILED = 516


class ClickHouseUnavailable(ConnectionError):
    """ClickHouse cannot be reached, or rejects the credentials; the text says where, why and what to check."""


class CredentialsRejected(ClickHouseUnavailable):
    """ClickHouse answers, and rejects user or password."""


@dataclass(frozen=True)
class Tls:
    """Trusted authorities and the client certificate; files are PEM. Empty means the authorities of the system, and no
    client certificate."""

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    verify: bool = True


def connect(
    url: str,
    *,
    user: str = "default",
    password: str = "",
    database: str = "millstream",
    tls: Tls | None = None,
    connect_timeout: float = 5,
    query_timeout: float = 300,
) -> Client:
    """A client for the server at `url` (`http://host:8123` or `https://host:8443`), safe to share between threads.

    The database need not exist yet; `migrate` creates it. `tls` applies to `https` only. Timeouts are in seconds: to
    connect, and to wait for a response. A query is sent again after a lost connection, an insert is not.
    Raises `ClickHouseUnavailable`, and `ValueError` when `url` is not an HTTP address.
    """
    scheme, host, port = http_address(url)
    tls = tls or Tls()
    try:
        client = clickhouse_connect.get_client(
            interface=scheme,
            host=host,
            port=port,
            username=user,
            password=password,
            ca_cert=tls.ca_file or None,
            client_cert=tls.certificate_file or None,
            client_cert_key=tls.key_file or None,
            verify=tls.verify,
            connect_timeout=max(1, round(connect_timeout)),
            send_receive_timeout=max(1, round(query_timeout)),
            # A session would allow only one query at a time.
            autogenerate_session_id=False,
        )
    except ClickHouseError as error:
        if getattr(error, "code", None) == _AUTHENTICATION_FAILED:
            raise CredentialsRejected(
                f"ClickHouse at {scheme}://{host}:{port} rejects user {user!r} or its password"
            ) from error
        raise ClickHouseUnavailable(
            f"no answer from ClickHouse at {scheme}://{host}:{port} as user {user!r}: {_cause(error)}; "
            "is it running, and are address, user and password right?"
        ) from error
    client.database = database
    return client


def server_text(error: BaseException) -> str:
    """What the server says, without what the driver puts around it: codes and the address."""
    text = str(error).strip()
    _, answered, said = text.partition("DB::Exception: ")
    return re.sub(r"\s*\(for url \S+\)$", "", said) if answered else text


def _cause(error: BaseException) -> str:
    """The innermost reason, such as "connection refused", without the layers around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return server_text(error).splitlines()[0]
