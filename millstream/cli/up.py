"""`millstream up`"""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from millstream.cli.output import err
from millstream.local.services import RunningService, Service, ServiceLog, stop_all
from millstream.local.stack import LocalStack
from millstream.terminal import styled

STOP_GRACE_S = 30.0


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

    Examples:

      millstream up

      millstream up myproject.jobs --workers 4

      millstream up --broker apache --brokers 3
    """
    handlers = app or ["millstream.demo.jobs"]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log = ServiceLog(err)
    with LocalStack(data, broker, brokers, clickhouse, say=lambda text: err.print(styled((text, "dim")))) as stack:
        services = [
            *(Service(f"worker-{n}", ("worker", *handlers, "--name", f"local-{n}")) for n in range(1, workers + 1)),
            Service("tracker", ("tracker",)),
            Service("sink", ("sink",)),
        ]
        running = [RunningService(each, stack.environment, log) for each in services]
        try:
            for each in running:
                each.start()
            _welcome(stack, handlers)
            while not stop.wait(1.0):
                _restart_ended(running, log)
        finally:
            err.print(styled(("stopping; running jobs may finish", "dim")))
            stop_all(running, STOP_GRACE_S)


def _restart_ended(running: list[RunningService], log: ServiceLog) -> None:
    for each in running:
        if not each.process.is_alive():
            code = each.process.returncode
            log.write(each.service.name, {"event": "service_restarted", "exit_code": code, "level": "error"})
            each.process.start()


def _welcome(stack: LocalStack, handlers: list[str]) -> None:
    settings = stack.settings
    err.print()
    err.print(styled(("Millstream is up.", "bold green"), f" Handlers: {', '.join(handlers)}"))
    err.print(
        f"  Kafka       {settings.kafka.bootstrap} ({stack.broker.kind})\n"
        f"  ClickHouse  {settings.clickhouse.url}, database {settings.clickhouse.database}\n"
        f"              user {settings.clickhouse.user}, password in {stack.folder / 'stack.json'}\n"
        f"  Tracker     {settings.tracker.url}/jobs/JOB_ID (the token is in {stack.folder / 'stack.json'})\n"
        "  In another terminal, in this folder: millstream submit demo.sleep '{\"seconds\": 0.1}' --tenant acme\n"
        "  then: millstream job show JOB_ID, millstream report --last 15m, millstream sql, millstream doctor\n"
        "  Ctrl-C stops everything.\n"
    )
