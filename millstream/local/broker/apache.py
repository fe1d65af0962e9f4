"""Apache Kafka in KRaft mode, one node or three, as child processes on loopback."""

import base64
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from millstream.local.broker.artifacts import kafka_jars
from millstream.local.broker.tansu import await_nodes
from millstream.local.ports import claim, free_port, is_free
from millstream.local.process import ChildProcess, DidNotStart

START_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0
OLDEST_JAVA = 17
JVM = ("-Xms256m", "-Xmx400m", "-XX:+UseSerialGC")
LIGHT_JVM = ("-Xms48m", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData")
"""The first compiler only: what the second one makes is faster, but it compiles for minutes and needs more memory. No
counters for `jstat`, which are updated twenty times a second."""


def missing_for_apache() -> str:
    """The reason why Apache Kafka cannot run on this machine; empty if it can."""
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not on the PATH (install Java {OLDEST_JAVA}+ and Maven)"
    output = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', output)
    if not found or int(found[1]) < OLDEST_JAVA:
        return f"Java {OLDEST_JAVA}+ is needed, found: {output.splitlines()[0] if output else 'none'}"
    return ""


class ApacheKafka:
    """A cluster whose nodes are broker and controller in one. Data and ports are kept in `folder`.

    `stock`: set only what is required to run and keep every other broker default, for benchmarks.
    `light`: half the memory and CPU while nothing happens, for less throughput. `port`: of the first node, if it can be
    claimed.
    """

    kind: Literal["apache"] = "apache"
    limits: tuple[str, ...] = ()

    def __init__(
        self,
        folder: Path,
        nodes: int = 1,
        *,
        stock: bool = False,
        light: bool = False,
        port: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._port = port
        self._say = say
        self._property_files = ["node.properties"]
        if not stock:
            self._property_files.append("recovery.properties")
        if light:
            self._property_files.append("light.properties")
        self._jvm = LIGHT_JVM if light else JVM
        self._count = nodes
        self._nodes: list[Node] = []

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    def node(self, number: int) -> "Node":
        """Node `number`, from 1."""
        return self._nodes[number - 1]

    def start(self) -> None:
        jars = kafka_jars(self._say)
        self._folder.mkdir(parents=True, exist_ok=True)
        cluster, ports = self._identity()
        voters = ",".join(f"{number}@127.0.0.1:{controller}" for number, (_, controller) in enumerate(ports, 1))
        self._nodes = [
            Node(self._folder / f"node-{number}", number, port, controller, jars, self._jvm)
            for number, (port, controller) in enumerate(ports, 1)
        ]
        for node in self._nodes:
            node.prepare(cluster, _properties(node, voters, self._count, self._property_files))
        for node in self._nodes:
            node.launch()
        for node in self._nodes:
            node.await_ready(self._count)
        self._say(f"Apache Kafka at {self.bootstrap}")

    def restart_ended(self) -> list[str]:
        """Start the nodes whose process has ended, without waiting for them; returns a sentence for each."""
        ended = [node for node in self._nodes if not node.is_alive()]
        for node in ended:
            node.launch()
        return [
            f"Kafka node {node.number} had ended and is started again; its log is {node.folder / 'kafka.log'}"
            for node in ended
        ]

    def stop(self) -> None:
        for node in self._nodes:
            node.terminate()
        for node in self._nodes:
            node.stop()

    def _identity(self) -> tuple[str, list[tuple[int, int]]]:
        """The cluster id and each node's ports (clients, controllers): the last ones if still free."""
        file = self._folder / "cluster.json"
        known = json.loads(file.read_text("utf-8")) if file.exists() else {}
        cluster = known.get("cluster") or _new_cluster_id()
        ports = [tuple(pair) for pair in known.get("ports", [])]
        if len(ports) not in (0, self._count):
            raise DidNotStart(f"{self._folder} holds a cluster of {len(ports)} nodes, not {self._count}")
        if not ports or not all(is_free(port) for pair in ports for port in pair):
            ports = [(free_port(), free_port()) for _ in range(self._count)]
        if self._port is not None and claim(self._port):
            ports[0] = (self._port, ports[0][1])
        file.write_text(json.dumps({"cluster": cluster, "ports": ports}), "utf-8")
        return cluster, ports


class Node:
    """One node of the cluster, which fault tests kill and restart."""

    def __init__(
        self, folder: Path, number: int, port: int, controller_port: int, jars: Path, jvm: Sequence[str]
    ) -> None:
        self.folder = folder
        self.number = number
        self.port = port
        self.controller_port = controller_port
        self._classpath = f"{jars}/*"
        self._properties = folder / "server.properties"
        self._process = ChildProcess(
            [
                *("java", *jvm, "-Djava.awt.headless=true"),
                f"-Dlog4j2.configurationFile={resources.files(__package__) / 'log4j2.xml'}",
                *("-cp", self._classpath, "kafka.Kafka", str(self._properties)),
            ],
            log=folder / "kafka.log",
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def prepare(self, cluster: str, properties: str) -> None:
        """Write the settings, and format a new data folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(properties, "utf-8")
        if (self.folder / "data" / "meta.properties").exists():
            return
        formatted = subprocess.run(
            [
                *("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", self._classpath),
                *("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise DidNotStart(f"Apache Kafka could not format {self.folder}:\n{formatted.stdout}{formatted.stderr}")

    def launch(self) -> None:
        """Start the process without waiting for it."""
        self._process.start()

    def start(self) -> None:
        """Start it and wait until it responds."""
        self.launch()
        self.await_ready(1)

    def await_ready(self, nodes: int) -> None:
        await_nodes(f"127.0.0.1:{self.port}", nodes, self._process, START_WITHIN_S)

    def terminate(self) -> None:
        if self._process.is_alive():
            self._process.terminate()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self._process.is_alive():
            self._process.stop(STOP_WITHIN_S)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()

    def suspend(self) -> None:
        self._process.suspend()

    def resume(self) -> None:
        self._process.resume()


def _new_cluster_id() -> str:
    """A random id in Kafka's format. A leading dash would be parsed as an option."""
    while True:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster.startswith("-"):
            return cluster


def _properties(node: Node, voters: str, count: int, files: Sequence[str]) -> str:
    replicas, in_sync = (3, 2) if count == 3 else (1, 1)
    text = "".join((resources.files(__package__) / file).read_text("utf-8") for file in files)
    values = {
        "NUMBER": node.number,
        "PORT": node.port,
        "CONTROLLER_PORT": node.controller_port,
        "VOTERS": voters,
        "DATA": node.folder / "data",
        "REPLICAS": replicas,
        "IN_SYNC": in_sync,
    }
    for name, value in values.items():
        text = text.replace("${" + name + "}", str(value))
    return text
