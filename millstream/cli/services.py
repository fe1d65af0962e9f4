"""`millstream worker`, `tracker`, `sink`: the long-running services."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import structlog
import typer
from clickhouse_connect.driver.client import Client

from millstream import settings as settings_module
from millstream.analytics import ClickHouseUnavailable
from millstream.cli.handlers import load_handlers
from millstream.cli.rewind import rewind_command
from millstream.clickhouse import connect
from millstream.consumers.sink.all_sinks import all_sinks, run_together
from millstream.consumers.worker import Drained, Supervisor, Worker, WorkerConfig, claim_worker_id, end_with_parent
from millstream.settings import Settings
from millstream.streams import build_app, run_tracker
from millstream.telemetry import configure_logging

log = structlog.get_logger(__name__)

CONNECT_AGAIN_S = 2.0
SUPERVISED = "MILLSTREAM_SUPERVISED"
CUT_SHORT = 4
"""Exit code of a worker whose grace period ended before its jobs did."""


def worker(
    app: Annotated[list[str], typer.Argument(help="Modules with your handlers, such as myproject.jobs.")],
    name: Annotated[str | None, typer.Option(help="Unique name of this worker, the same after a restart.")] = None,
    lane: Annotated[list[str] | None, typer.Option(help="Lane to read; repeatable; all when absent.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Jobs at once on the event loop.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for handlers that are plain functions.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes under one supervisor, each started again if it dies.")
    ] = None,
) -> None:
    """Execute jobs.

    SIGTERM or ctrl-C finishes what runs, a second one stops at once. Exit code 0 when everything that had begun was
    finished, 4 when the grace period ended first: those jobs run again elsewhere.

    Examples:

      millstream worker myproject.jobs

      millstream worker myproject.jobs --processes 4

      millstream worker myproject.jobs --name w1 --lane high --lane default --concurrency 200
    """
    settings = settings_module.load()
    given = {"worker_id": name, "lanes": tuple(lane) if lane else None, "concurrency": concurrency, "threads": threads}
    config = settings.worker.model_copy(update={key: value for key, value in given.items() if value is not None})
    if processes is not None:
        raise typer.Exit(_supervise(settings, config, app, processes))
    if SUPERVISED in os.environ:
        end_with_parent()
    jobs = load_handlers(app)
    _log(settings, config.worker_id or "worker")
    running = Worker(settings.connection, settings.catalogue, config, jobs, settings.codec)
    _on_signals(running.stop)
    # A window of jobs is thousands of objects that live for a moment: looking through them at every 700th costs most.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    if running.run() is Drained.CUT_SHORT:
        raise typer.Exit(CUT_SHORT)


def _supervise(settings: Settings, config: WorkerConfig, app: list[str], processes: int) -> int:
    base = config.worker_id or claim_worker_id(config.host, settings.topics.prefix)
    _log(settings, base)
    # A wrong module name is said once, here, and not by every child again and again.
    load_handlers(app)
    names = [f"{base}-{number}" for number in range(processes)]

    def command(name: str) -> tuple[list[str], dict[str, str]]:
        argv = [sys.executable, "-m", "millstream", "worker", *app, "--name", name]
        for lane in config.lanes:
            argv += ["--lane", lane]
        argv += ["--concurrency", str(config.concurrency), "--threads", str(config.threads)]
        environment = {**os.environ, SUPERVISED: "1", "MILLSTREAM_WORKER__STATIC_MEMBERSHIP": "true"}
        if config.health_port:
            environment["MILLSTREAM_WORKER__HEALTH_PORT"] = str(config.health_port + names.index(name))
        return argv, environment

    supervisor = Supervisor(names, command)
    _on_signals(supervisor.stop)
    return supervisor.run()


def tracker() -> None:
    """Keep the current state of each job and serve it at `GET /jobs/{id}`."""
    settings = settings_module.load()
    _log(settings, "tracker")
    app = build_app(settings.connection, settings.catalogue, settings.codec, settings.tracker)
    run_tracker(app)


sink = typer.Typer(invoke_without_command=True)
sink.command("rewind")(rewind_command)


@sink.callback()
def run_sink(
    context: typer.Context, name: Annotated[str, typer.Option(help="Name of this sink in logs.")] = "sink"
) -> None:
    """Write events, beats, alerts, dead letters and changes to ClickHouse, each exactly once."""
    if context.invoked_subcommand:
        return
    settings = settings_module.load()
    _log(settings, name)
    stop = threading.Event()
    _on_signals(stop.set)
    # Waiting records are many, live long and form no cycles: looking through them would cost more than reading them.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    client = _connect_patiently(settings, stop)
    if client is not None:
        run_together(all_sinks(settings.connection, settings.catalogue, client, settings.codec, settings.sink), stop)


def _connect_patiently(settings: Settings, stop: threading.Event) -> Client | None:
    """A client, once ClickHouse answers; None when asked to stop before. Kafka keeps what a sink would write."""
    while not stop.is_set():
        try:
            return connect(settings)
        except ClickHouseUnavailable as error:
            log.warning("waiting for ClickHouse", reason=str(error))
            stop.wait(CONNECT_AGAIN_S)
    return None


def _log(settings: Settings, service: str) -> None:
    configure_logging(settings.log_format, settings.log_level, service=service)


def _on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
