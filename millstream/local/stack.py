"""The local stack: a broker and ClickHouse as child processes, topics and tables ready. `stack.json` says how to reach
them, with the secrets that they ask for."""

import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pydantic import BaseModel

from millstream.local.broker import Broker, choose_broker
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.ports import claim, free_port
from millstream.local.process import DidNotStart
from millstream.settings import Settings, running_stack
from millstream.topics import apply_topics

Say = Callable[[str], None]

KAFKA_PORT = 9092
CLICKHOUSE_PORT = 8123
TRACKER_PORT = 6066
"""The ports that clients use without any setting."""

IDLE_FETCH_WAIT_MS = {"worker": 1_000, "sink": 2_000}
"""`fetch_wait_ms` of the services of a resident stack, which mostly waits."""


class StackRunning(RuntimeError):
    """Another process runs a local stack on the same folder."""


class LocalStack:
    """The services that Millstream depends on, on this machine and loopback only. Data stays in `folder`.

    `broker`: `auto`, `apache`, `tansu`, or the address of a broker that runs already. `nodes`: 1 or 3 Kafka nodes.
    `clickhouse_url`: a server that runs already; the embedded engine is started when it is None. `resident`: for a
    stack that stays while people work: small, and on the ports that clients use by default where they are free.
    """

    def __init__(
        self,
        folder: Path,
        broker: str = "auto",
        nodes: int = 1,
        clickhouse_url: str | None = None,
        say: Say = print,
        *,
        resident: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self._say = say
        self._nodes = nodes
        self._choice = broker
        self._clickhouse_url = clickhouse_url
        self._resident = resident
        self._clickhouse: EmbeddedClickHouse | None = None
        self._broker: Broker | None = None
        self._lock: IO[str] | None = None
        self.settings = Settings()

    @property
    def broker(self) -> Broker:
        if self._broker is None:
            raise RuntimeError("the local stack is not started")
        return self._broker

    @property
    def environment(self) -> dict[str, str]:
        """The addresses as environment variables, for services and for a shell."""
        variables = {
            "MILLSTREAM_KAFKA__BOOTSTRAP": self.settings.kafka.bootstrap,
            "MILLSTREAM_CLICKHOUSE__URL": self.settings.clickhouse.url,
            "MILLSTREAM_CLICKHOUSE__PASSWORD": self.settings.clickhouse.password.get_secret_value(),
            "MILLSTREAM_TRACKER__PORT": str(self.settings.tracker.port),
            "MILLSTREAM_TRACKER__TOKEN": self.settings.tracker.token.get_secret_value(),
        }
        for service, wait_ms in IDLE_FETCH_WAIT_MS.items() if self._resident else ():
            if "fetch_wait_ms" not in getattr(self.settings, service).model_fields_set:
                variables[f"MILLSTREAM_{service.upper()}__FETCH_WAIT_MS"] = str(wait_ms)
        return variables

    def start(self) -> None:
        """Start broker and ClickHouse in parallel, then create topics and tables.

        Raises `StackRunning`, and `DidNotStart` for what did not start.
        """
        self._take_folder()
        with ThreadPoolExecutor(2) as both:
            broker, engine = both.submit(self._start_broker), both.submit(self._start_clickhouse)
            bootstrap, server = broker.result(), engine.result()
        addresses: dict[str, Any] = {
            "kafka": {"bootstrap": bootstrap},
            "clickhouse": server,
            "tracker": {
                "port": TRACKER_PORT if self._resident and claim(TRACKER_PORT) else free_port(),
                "token": self.settings.tracker.token.get_secret_value() or secrets.token_urlsafe(32),
            },
        }
        self.settings = Settings(
            **{name: _updated(getattr(self.settings, name), new) for name, new in addresses.items()}
        )
        with ThreadPoolExecutor(1) as side_by_side:
            migrations = side_by_side.submit(self._migrate)
            apply_topics(self.settings.connection, self.settings.catalogue, self.settings.topics.replication)
            applied = migrations.result()
        self._say(f"topics and tables are ready ({applied} migrations applied)")
        note = {"pid": os.getpid(), "broker": self.broker.kind, "settings": addresses}
        _write_for_this_user(self.folder / "stack.json", json.dumps(note, indent=1))

    def restart_ended(self) -> list[str]:
        """Start the broker and ClickHouse again if they have ended, on their ports and data, without waiting for them;
        returns a sentence for each. Raises `DidNotStart` when the data are gone."""
        restarted = self.broker.restart_ended()
        if self._clickhouse and not self._clickhouse.is_alive():
            self._clickhouse.launch()
            restarted.append("the ClickHouse engine had ended and is started again")
        return restarted

    def stop(self) -> None:
        """Stop what was started. Data is kept, unless the broker holds it in memory."""
        if self._lock is None:
            return
        (self.folder / "stack.json").unlink(missing_ok=True)
        if self._clickhouse:
            self._clickhouse.stop()
        if self._broker:
            self._broker.stop()
        self._lock.close()
        self._lock = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_folder(self) -> None:
        """Own the folder until `stop`. The lock goes with the process; `stack.json` is there only once all is up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "stack.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            stack = running_stack(self.folder)
            owner = f"process {stack['pid']}" if stack else "another process, which is starting,"
            raise StackRunning(f"{owner} runs a local stack in {self.folder}") from error
        self._lock = lock

    def _start_broker(self) -> str:
        self._broker = choose_broker(
            self._choice,
            self.folder / "kafka",
            self._nodes,
            self._say,
            light=self._resident,
            port=KAFKA_PORT if self._resident else None,
        )
        self._broker.start()
        for limit in self._broker.limits:
            self._say(f"note: {limit}")
        return self._broker.bootstrap

    def _start_clickhouse(self) -> dict[str, str]:
        """The settings that lead to it. The password of the engine is the configured one if there is one."""
        if self._clickhouse_url:
            return {"url": self._clickhouse_url}
        configured = self.settings.clickhouse
        password = configured.password.get_secret_value() or None
        port = CLICKHOUSE_PORT if self._resident and claim(CLICKHOUSE_PORT) else 0
        self._clickhouse = EmbeddedClickHouse(self.folder / "clickhouse", port, user=configured.user, password=password)
        self._clickhouse.start()
        self._say(f"ClickHouse engine at {self._clickhouse.url}")
        return {"url": self._clickhouse.url, "password": self._clickhouse.password}

    def _migrate(self) -> int:
        """Apply the migrations and return their number. In a process of its own: the libraries that it loads would stay
        in memory for as long as the stack runs."""
        done = subprocess.run(
            [sys.executable, "-m", "millstream", "migrate", "--json"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DidNotStart(f"the tables could not be made:\n{done.stderr.strip()}")
        return len(json.loads(done.stdout))


def _updated(group: BaseModel, new: dict[str, Any]) -> Any:
    return type(group).model_validate(dict(group) | new)


def _write_for_this_user(file: Path, text: str) -> None:
    """Write a file that no other user of the machine can read: it holds secrets."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
