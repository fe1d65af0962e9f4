"""Topics, groups and users of one module of tests on the secured broker, and what runs as these users."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.rights.table import Names, Role
from millstream.schemas import TopicCatalogue
from tests.support.paths import ROOT
from tests.support.rights_table import documented_rights
from tests.support.secured_broker import SecuredBroker

ROLES: tuple[Role, ...] = get_args(Role)
FAILURE = "as it should"
"""What every failing job says."""

HANDLERS = f"""
import asyncio
from millstream import job

@job("t.add")
async def add(payload):
    return payload

@job("t.fail")
async def fail(payload):
    raise RuntimeError("{FAILURE}")

@job("t.sleep")
async def sleep(payload):
    await asyncio.sleep(payload)
"""


class Installation:
    """The names of an installation, and the commands and services of its users."""

    def __init__(self, broker: SecuredBroker, folder: Path) -> None:
        self.broker = broker
        self.topics = TopicCatalogue(f"r{uuid.uuid4().hex[:6]}.", ("high", "default"), partitions=2)
        self.names = Names(self.topics, self.topics.lanes, f"{self.topics.prefix}workers", f"{self.topics.prefix}sink")
        self.folder = folder
        self.tracker_port = free_port()
        (folder / "handlers.py").write_text(HANDLERS, "utf-8")

    def allow(self, role: Role) -> None:
        """Give a role what the documentation says, and nothing else."""
        self.broker.allow(role, documented_rights(role, self.names))

    def environment(self, user: str, **settings: str) -> dict[str, str]:
        return {
            **os.environ,
            **self.broker.environment(user),
            "PYTHONPATH": str(ROOT),
            "MILLSTREAM_TOPICS__PREFIX": self.topics.prefix,
            "MILLSTREAM_TOPICS__LANES": json.dumps(self.topics.lanes),
            "MILLSTREAM_TOPICS__PARTITIONS": "2",
            "MILLSTREAM_WORKER__GROUP": self.names.worker_group,
            "MILLSTREAM_SINK__GROUP": self.names.sink_group,
            "MILLSTREAM_TRACKER__PORT": str(self.tracker_port),
            "MILLSTREAM_LOG_FORMAT": "json",
            **settings,
        }

    def run(self, user: str, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command of `millstream` as a user, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "millstream", *command],
            env=self.environment(user, **settings),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def done(self, user: str, *command: str, **settings: str) -> str:
        """What a command printed that did what it was asked."""
        found = self.run(user, *command, **settings)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    def service(
        self, user: str, *command: str, on_line: Callable[[str], None] | None = None, **settings: str
    ) -> ChildProcess:
        """A service as a user, not started yet."""
        return ChildProcess(
            [sys.executable, "-m", "millstream", *command],
            env=self.environment(user, **settings),
            cwd=self.folder,
            on_line=on_line,
        )
