"""The local stack: a broker and ClickHouse as child processes, topics and tables ready. `stack.json` says how to reach
them, with the secrets that they ask for."""

import json
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from millstream import clickhouse
from millstream.local.broker import Broker, choose_broker
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.ports import free_port
from millstream.settings import Settings, running_stack
from millstream.topics import apply_topics

Say = Callable[[str], None]


class StackRunning(RuntimeError):
    """Another process runs a local stack on the same folder."""


class LocalStack:
    """The services that Millstream depends on, on this machine and loopback only. Data stays in `folder`.

    `broker`: `auto`, `apache`, `tansu`, or the address of a broker that runs already. `nodes`: 1 or 3 Kafka nodes.
    `clickhouse_url`: a server that runs already; the embedded engine is started when it is None.
    """

    def __init__(
        self, folder: Path, broker: str = "auto", nodes: int = 1, clickhouse_url: str | None = None, say: Say = print
    ) -> None:
        self.folder = folder.resolve()
        self._say = say
        self._nodes = nodes
        self._choice = broker
        self._clickhouse_url = clickhouse_url
        self._clickhouse: EmbeddedClickHouse | None = None
        self._broker: Broker | None = None
        self.settings = Settings()

    @property
    def broker(self) -> Broker:
        if self._broker is None:
            raise RuntimeError("the local stack is not started")
        return self._broker

    @property
    def environment(self) -> dict[str, str]:
        """The addresses as environment variables, for services and for a shell."""
        return {
            "MILLSTREAM_KAFKA__BOOTSTRAP": self.settings.kafka.bootstrap,
            "MILLSTREAM_CLICKHOUSE__URL": self.settings.clickhouse.url,
            "MILLSTREAM_CLICKHOUSE__PASSWORD": self.settings.clickhouse.password.get_secret_value(),
            "MILLSTREAM_TRACKER__PORT": str(self.settings.tracker.port),
            "MILLSTREAM_TRACKER__TOKEN": self.settings.tracker.token.get_secret_value(),
        }

    def start(self) -> None:
        """Start broker and ClickHouse in parallel, then create topics and tables. Raises `StackRunning`."""
        if stack := running_stack(self.folder):
            raise StackRunning(f"process {stack['pid']} runs a local stack in {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as both:
            broker, engine = both.submit(self._start_broker), both.submit(self._start_clickhouse)
            bootstrap, server = broker.result(), engine.result()
        addresses: dict[str, Any] = {
            "kafka": {"bootstrap": bootstrap},
            "clickhouse": server,
            "tracker": {
                "port": free_port(),
                "token": self.settings.tracker.token.get_secret_value() or secrets.token_urlsafe(32),
            },
        }
        self.settings = Settings(
            **{name: _updated(getattr(self.settings, name), new) for name, new in addresses.items()}
        )
        apply_topics(self.settings.connection, self.settings.catalogue, self.settings.topics.replication)
        applied = clickhouse.migrate(self.settings)
        self._say(f"topics and tables are ready ({len(applied)} migrations applied)")
        note = {"pid": os.getpid(), "broker": self.broker.kind, "settings": addresses}
        _write_for_this_user(self.folder / "stack.json", json.dumps(note, indent=1))

    def stop(self) -> None:
        """Stop what was started. Data is kept, unless the broker holds it in memory."""
        (self.folder / "stack.json").unlink(missing_ok=True)
        if self._clickhouse:
            self._clickhouse.stop()
        if self._broker:
            self._broker.stop()

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

    def _start_broker(self) -> str:
        self._broker = choose_broker(self._choice, self.folder / "kafka", self._nodes, self._say)
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
        self._clickhouse = EmbeddedClickHouse(self.folder / "clickhouse", user=configured.user, password=password)
        self._clickhouse.start()
        self._say(f"ClickHouse engine at {self._clickhouse.url}")
        return {"url": self._clickhouse.url, "password": self._clickhouse.password}


def _updated(group: BaseModel, new: dict[str, Any]) -> Any:
    return type(group).model_validate(dict(group) | new)


def _write_for_this_user(file: Path, text: str) -> None:
    """Write a file that no other user of the machine can read: it holds secrets."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
