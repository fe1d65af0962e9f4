"""The embedded server as a child process."""

import os
import re
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from millstream.extras import ExtraMissing
from millstream.local.clickhouse.password import kept_password
from millstream.local.ports import free_port, is_free
from millstream.local.process import ChildProcess, DidNotStart

START_WITHIN_S = 60.0
_PASSWORD = "MILLSTREAM_EMBEDDED_PASSWORD"


class EmbeddedClickHouse:
    """The ClickHouse engine on a data folder. The port stays the same from one start to the next if it is free.

    `password`: that of `user`, who is the only one; when None, the one that is kept in the folder, and made at first.
    Empty for a server without one, which every program on this machine may use.
    """

    def __init__(self, folder: Path, port: int = 0, *, user: str = "default", password: str | None = None) -> None:
        self._folder = folder
        self._port = port
        self._user = user
        self._given_password = password
        self._ready = threading.Event()
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def password(self) -> str:
        """The password of its user; empty if it has none."""
        if self._given_password is not None:
            return self._given_password
        self._folder.mkdir(parents=True, exist_ok=True)
        return kept_password(self._folder)

    @property
    def pid(self) -> int:
        return self._started().pid

    def start(self) -> None:
        """Start it and return when it responds. Raises `DidNotStart` with the end of its log when it does not, and
        `ExtraMissing`."""
        self.launch()
        process, waited = self._started(), 0.0
        while not self._ready.wait(0.05):
            waited += 0.05
            if not process.is_alive() or waited > START_WITHIN_S:
                process.kill()
                raise DidNotStart(f"the ClickHouse engine did not start:\n{process.tail}")

    def launch(self) -> None:
        """Start it without waiting for it. Raises `ExtraMissing` when the engine is not installed."""
        if find_spec("chdb") is None:
            raise ExtraMissing("the ClickHouse engine", "local")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._port = self._choose_port()
        self._ready.clear()
        password = self.password
        self._process = ChildProcess(
            [
                *(sys.executable, "-m", "millstream.local.clickhouse"),
                *("--path", str(self._folder), "--port", str(self._port), "--user", self._user),
                *(("--password-env", _PASSWORD) if password else ("--no-password",)),
            ],
            # Not an argument, which every user of the machine can list.
            env={**os.environ, _PASSWORD: password},
            on_line=self._read_line,
        )
        self._process.start()

    def stop(self) -> None:
        if self._process and self._process.is_alive():
            self._process.stop(15)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._started().kill()

    def suspend(self) -> None:
        self._started().suspend()

    def resume(self) -> None:
        self._started().resume()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _choose_port(self) -> int:
        remembered = self._folder / "port"
        port = self._port or (int(remembered.read_text("utf-8")) if remembered.exists() else 0)
        if not port or not is_free(port):
            port = free_port()
        remembered.write_text(str(port), "utf-8")
        return port

    def _read_line(self, line: str) -> None:
        if re.match(r"ready http://", line):
            self._ready.set()

    def _started(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("the ClickHouse engine is not started")
        return self._process
