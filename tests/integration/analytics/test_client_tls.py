"""ClickHouse over HTTPS: whom the client trusts, and as whom it appears."""

import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from millstream.analytics import ClickHouseUnavailable, Tls, connect

pytest.importorskip("cryptography", reason="makes the certificates")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for the loopback address that vouches for itself, and its key: two PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(certificate_file), str(key_file)


@contextmanager
def behind_tls(url: str, context: ssl.SSLContext) -> Iterator[str]:
    """An HTTPS address of a server that serves HTTP."""
    server = urlsplit(url)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A client that does not trust us hangs up.
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection((server.hostname, server.port)) as inside,
            ):
                back = threading.Thread(target=relay, args=(inside, outside), daemon=True)
                back.start()
                relay(outside, inside)
                back.join(10)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate(tmp_path, "server"))
    return made


def answer(url: str, tls: Tls) -> object:
    return connect(url, tls=tls, database="default").query("SELECT 7").result_rows[0][0]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_server_is_trusted_by_its_authority_and_by_nothing_else(
    clickhouse_url: str, context: ssl.SSLContext, tmp_path: Path
) -> None:
    with behind_tls(clickhouse_url, context) as url:
        assert answer(url, Tls(ca_file=str(tmp_path / "server.pem"))) == 7
        assert answer(url, Tls(verify=False)) == 7
        other, _ = certificate(tmp_path, "other")
        for distrusting in (Tls(), Tls(ca_file=other)):
            with pytest.raises(ClickHouseUnavailable, match=r"(?i)certificate"):
                answer(url, distrusting)


def test_a_server_that_asks_for_a_certificate_gets_ours(
    clickhouse_url: str, context: ssl.SSLContext, tmp_path: Path
) -> None:
    ours, key = certificate(tmp_path, "ours")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ours)
    with behind_tls(clickhouse_url, context) as url:
        server = str(tmp_path / "server.pem")
        assert answer(url, Tls(server, ours, key)) == 7
        with pytest.raises(ClickHouseUnavailable):
            answer(url, Tls(server))
