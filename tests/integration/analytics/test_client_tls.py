"""ClickHouse over HTTPS: whom the client trusts, and as whom it appears."""

import ipaddress
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import ClickHouseUnavailable, Tls, connect
from tests.support.tls_relay import behind_tls

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


def test_commands_reach_clickhouse_by_settings_alone_and_say_that_a_certificate_is_not_trusted(
    clickhouse_url: str, own_clickhouse: Client, context: ssl.SSLContext, tmp_path: Path
) -> None:
    def run(url: str, ca_file: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "millstream", *command],
            env={
                **os.environ,
                "MILLSTREAM_CLICKHOUSE__URL": url,
                "MILLSTREAM_CLICKHOUSE__CA_FILE": ca_file,
                "MILLSTREAM_CLICKHOUSE__DATABASE": str(own_clickhouse.database),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    other, _ = certificate(tmp_path, "stranger")
    with behind_tls(clickhouse_url, context) as url:
        for command in (("migrate",), ("sql", "SELECT 40 + 2")):
            trusted = run(url, str(tmp_path / "server.pem"), *command)
            assert trusted.returncode == 0, trusted.stderr
            distrusted = run(url, other, *command)
            assert distrusted.returncode == 3
            assert "certificate" in distrusted.stderr.lower() and "Traceback" not in distrusted.stderr
