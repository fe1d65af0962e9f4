"""Millstream's services as child processes, their log lines merged into one coloured log."""

import json
import os
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.settings import Settings
from millstream.visible import visible

COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_green")
LEVEL_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
TRACEBACK = "exception"
STANDARD_FIELDS = {"event", "level", "timestamp", "service"}


@dataclass(frozen=True)
class Service:
    """A service to run: its name in the log, the arguments of `millstream`, settings as environment variables, the log
    event that reports it ready (None: it counts as ready once started), and the URL that then responds, if any."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_event: str | None = None
    ready_url: str | None = None


def tracker_service(settings: Settings) -> Service:
    """The tracker, ready when its states are recovered."""
    return Service("tracker", ("tracker",), ready_url=f"{settings.tracker.url}/health")


def sink_service(settings: Settings) -> Service:
    """The sink, ready when each of its topics has a reader and ClickHouse answers."""
    port = settings.sink.health_port or free_port()
    return Service(
        "sink",
        ("sink",),
        {"MILLSTREAM_SINK__HEALTH_PORT": str(port)},
        ready_url=f"http://127.0.0.1:{port}/ready",
    )


class RunningService:
    """A service's process and whether it has reported ready."""

    def __init__(
        self, service: Service, environment: Mapping[str, str], log: "ServiceLog", folder: Path | None = None
    ) -> None:
        self.service = service
        self.ready = threading.Event()
        self._log = log
        self.process = ChildProcess(
            [sys.executable, "-m", "millstream", *service.arguments],
            env={
                **os.environ,
                "MILLSTREAM_LOG_FORMAT": "json",
                "PYTHONUNBUFFERED": "1",
                **environment,
                **service.environment,
            },
            cwd=folder,
            on_line=self._read_line,
        )

    def start(self) -> None:
        self.process.start()
        if self.service.ready_event is None:
            self.ready.set()

    @property
    def responds(self) -> bool:
        """Whether it has reported ready and its URL, if it has one, responds."""
        if not self.ready.is_set():
            return False
        if self.service.ready_url is None:
            return True
        try:
            return not httpx.get(self.service.ready_url, timeout=2).is_server_error
        except httpx.HTTPError:
            return False

    def _read_line(self, line: str) -> None:
        fields = _parse(line)
        if fields.get("event") == self.service.ready_event:
            self.ready.set()
        self._log.write(self.service.name, fields)


def stop_all(running: Sequence[RunningService], grace_s: float) -> None:
    """Stop all services at the same time, and wait for each."""
    with ThreadPoolExecutor(len(running)) as pool:
        list(pool.map(lambda each: each.process.stop(grace_s), running))


class ServiceLog:
    """One log for all services: a coloured column with the service's name, then its line, and a traceback below it.
    Thread-safe. `expected`: events that are not shown."""

    def __init__(self, console: Console, least_level: str = "info", expected: Collection[str] = ()) -> None:
        self._console = console
        self._expected = expected
        self._colours: dict[str, str] = {}
        self._quiet = {"debug", "info", "warning"} if least_level == "error" else set()
        if least_level == "warning":
            self._quiet = {"debug", "info"}

    def write(self, name: str, fields: Mapping[str, object]) -> None:
        level = str(fields.get("level", "info"))
        if level in self._quiet or fields["event"] in self._expected:
            return
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        line = Text(f"{name:>10} │ ", style=colour)
        line.append(visible(str(fields["event"])), style=LEVEL_STYLES.get(level, ""))
        for key, value in fields.items():
            # Nothing was left out, as nearly always.
            if key not in STANDARD_FIELDS and key != TRACEBACK and (key, value) != ("left_out", 0):
                line.append(f" {visible(key)}=", style="dim")
                line.append(visible(_short(value)))
        if traceback := str(fields.get(TRACEBACK, "")).rstrip():
            for each in traceback.split("\n"):
                line.append(f"\n{'':>10} │ ", style=colour).append(visible(each), style="dim")
        self._console.print(line, soft_wrap=True)


def _parse(line: str) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {"event": line.rstrip()}
    return fields if isinstance(fields, dict) and "event" in fields else {"event": line.rstrip()}


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} ({value[0]} ... {value[-1]})"
    return str(value)
