"""Millstream's own services as child processes, their lines gathered into one coloured log."""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from millstream.local.process import ChildProcess

COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_green")
LEVEL_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
STANDARD_FIELDS = {"event", "level", "timestamp", "service"}


@dataclass(frozen=True)
class Service:
    """A service to run: its name in the log, the arguments of `millstream`, settings as environment variables, and the
    log event that says it is ready (none when it is as soon as it runs)."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_event: str | None = None


class RunningService:
    """A service's process and what it said."""

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
            on_line=self._hear,
        )

    def start(self) -> None:
        self.process.start()
        if self.service.ready_event is None:
            self.ready.set()

    def _hear(self, line: str) -> None:
        said = _parse(line)
        if said.get("event") == self.service.ready_event:
            self.ready.set()
        self._log.write(self.service.name, said)


def stop_all(running: Sequence[RunningService], grace_s: float) -> None:
    """Ask all services to stop at once, and wait for each."""
    with ThreadPoolExecutor(len(running)) as pool:
        list(pool.map(lambda each: each.process.stop(grace_s), running))


class ServiceLog:
    """One log for all services: a coloured column with the service's name, then its line. Thread-safe."""

    def __init__(self, console: Console, least_level: str = "info") -> None:
        self._console = console
        self._colours: dict[str, str] = {}
        self._quiet = {"debug", "info", "warning"} if least_level == "error" else set()
        if least_level == "warning":
            self._quiet = {"debug", "info"}

    def write(self, name: str, said: Mapping[str, object]) -> None:
        level = str(said.get("level", "info"))
        if level in self._quiet:
            return
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        line = Text(f"{name:>10} │ ", style=colour)
        line.append(str(said["event"]), style=LEVEL_STYLES.get(level, ""))
        for key, value in said.items():
            if key not in STANDARD_FIELDS:
                line.append(f" {key}=", style="dim")
                line.append(_short(value))
        self._console.print(line, soft_wrap=True)


def _parse(line: str) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {"event": line.rstrip()}
    return said if isinstance(said, dict) and "event" in said else {"event": line.rstrip()}


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} ({value[0]} ... {value[-1]})"
    return str(value)
