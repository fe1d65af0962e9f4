"""Certificates of a test: an authority, and what it signs."""

import shutil
import subprocess
from pathlib import Path

import pytest

VALID_DAYS = "30"


class Authority:
    """A certificate authority in a folder. `ca_file` is what those who trust it are given."""

    def __init__(self, folder: Path, name: str = "millstream-test-ca") -> None:
        """Skips the test where `openssl` is missing."""
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._run(*("req", "-x509", "-nodes", "-subj", f"/CN={name}"), *_new_key(self._key), "-out", str(self.ca_file))

    def issue(self, name: str, *, dns: str = "localhost") -> tuple[Path, Path]:
        """A certificate for `dns` and 127.0.0.1, and its key, as PEM files."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{dns},IP:127.0.0.1", "utf-8")
        self._run("req", "-nodes", "-subj", f"/CN={dns}", *_new_key(key), "-out", str(request))
        self._run(
            *("x509", "-req", "-in", str(request), "-CA", str(self.ca_file), "-CAkey", str(self._key)),
            *("-CAcreateserial", "-days", VALID_DAYS, "-extfile", str(extensions), "-out", str(certificate)),
        )
        return certificate, key

    @staticmethod
    def _run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _new_key(file: Path) -> tuple[str, ...]:
    return "-newkey", "rsa:2048", "-keyout", str(file), "-days", VALID_DAYS
