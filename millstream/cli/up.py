"""`millstream up`"""

import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from millstream.cli.failure import Failure
from millstream.cli.output import err
from millstream.local.services import RunningService, Service, ServiceLog, sink_service, stop_all, tracker_service
from millstream.local.stack import LocalStack
from millstream.local.watch import ServiceWatch, StackWatch
from millstream.terminal import styled

STOP_GRACE_S = 30.0
REPORT_WAITING_S = 15.0
"""How often `up` says what it waits for, in seconds."""


def up(
    app: Annotated[list[str] | None, typer.Argument(help="Modules with your handlers; the demo's if absent.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes.")] = 2,
    broker: Annotated[str, typer.Option(help="auto, apache, tansu, or HOST:PORT of a running broker.")] = "auto",
    brokers: Annotated[int, typer.Option(help="Kafka nodes: 1 or 3.")] = 1,
    clickhouse: Annotated[str | None, typer.Option(help="URL of a running ClickHouse server.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of data and logs; kept for the next start.")] = Path(".millstream"),
) -> None:
    """Start everything on this machine: broker, ClickHouse, topics, tables, workers, tracker and sink.

    Other commands in the same folder use it without configuration. Ctrl-C stops everything. Data survives a restart.
    What ends by itself is started again.

    Examples:

      millstream up

      millstream up myproject.jobs --workers 4

      millstream up --broker apache --brokers 3
    """
    handlers = app or ["millstream.demo.jobs"]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    example = _example_job(handlers)
    log = ServiceLog(err)
    with LocalStack(data, broker, brokers, clickhouse, say=_say, resident=True) as stack:
        if stop.is_set():
            return
        services = [
            *(
                Service(f"worker-{n}", ("worker", *handlers, "--name", f"local-{n}"), ready_event="worker_ready")
                for n in range(1, workers + 1)
            ),
            tracker_service(stack.settings),
            sink_service(stack.settings),
        ]
        running = [RunningService(each, stack.environment, log) for each in services]
        try:
            for each in running:
                each.start()
            watch, below = ServiceWatch(running, log), StackWatch(stack.restart_ended, log)
            if _await_ready(watch, stop):
                _welcome(stack, handlers, example, workers)
            while not stop.wait(1.0):
                below.restart_ended()
                watch.restart_ended()
        finally:
            _say("stopping; running jobs may finish")
            stop_all(running, STOP_GRACE_S)


def _say(text: str) -> None:
    err.print(styled((text, "dim")))


def _example_job(handlers: Sequence[str]) -> dict[str, Any]:
    """A job that one of the handlers accepts. Raises `Failure` when a worker could not import them."""
    done = subprocess.run(
        [sys.executable, "-m", "millstream.cli.example_job", *handlers],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Failure(
            f"importing {' '.join(handlers)} ended the process: {last}", "nothing was started", code=2
        ) from None
    if "error" in found:
        raise Failure(found["error"], found["hint"], code=2)
    return dict(found)


def _await_ready(watch: ServiceWatch, stop: threading.Event) -> bool:
    """Wait until every service responds; False when `stop` was set first."""
    report_at = time.monotonic() + REPORT_WAITING_S
    while waiting := watch.not_ready():
        if stop.wait(0.1):
            return False
        if time.monotonic() >= report_at:
            _say(f"waiting for {', '.join(waiting)}")
            report_at += REPORT_WAITING_S
        watch.restart_ended()
    return not stop.is_set()


def _welcome(stack: LocalStack, handlers: Sequence[str], example: dict[str, Any], workers: int) -> None:
    settings = stack.settings
    submit = f"millstream submit {example['job_type']}"
    if example["payload"] is not None:
        submit += f" {shlex.quote(json.dumps(example['payload']))}"
    secrets = stack.folder / "stack.json"
    err.print()
    nobody = "" if workers else " (no worker was asked for)"
    err.print(styled(("Millstream is up.", "bold green"), f" Handlers: {', '.join(handlers)}{nobody}"))
    err.print(
        f"  Kafka       {settings.kafka.bootstrap} ({stack.broker.kind})\n"
        f"  ClickHouse  {settings.clickhouse.url}, database {settings.clickhouse.database}\n"
        f"              user {settings.clickhouse.user}, password in {secrets}\n"
        f"  Tracker     {settings.tracker.url}/jobs/JOB_ID (the token is in {secrets})\n"
        f"  In another terminal, in {stack.folder.parent}:\n"
        f"    {submit} --tenant acme\n"
        "  then: millstream job show JOB_ID, millstream report --last 15m, millstream sql, millstream doctor\n"
        "  Ctrl-C stops everything.\n",
        soft_wrap=True,
    )
