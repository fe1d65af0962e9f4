"""`millstream worker`

A supervised child starts with this module. The time until it serves again is mostly the time that its imports and the
opening of its transactional producer take, so it opens the producer first and imports the rest meanwhile.
"""

import gc
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from millstream import settings as settings_module
from millstream.cli.service import log_as, on_stop_signals
from millstream.listening import require_port
from millstream.settings import Settings
from millstream.telemetry import configure_logging

if TYPE_CHECKING:
    from millstream.consumers.kafka.transaction_thread import TransactionThread
    from millstream.consumers.worker import WorkerConfig

SUPERVISED = "MILLSTREAM_SUPERVISED"
PARENT_DIED = signal.SIGHUP
"""What a supervised child gets when its supervisor dies. Not SIGTERM: a child that drains already goes on draining."""

CUT_SHORT = 4
"""Exit code of a worker whose grace period ended before its jobs did."""

NAME_TAKEN = 5
"""Exit code of a worker when another one has its name."""


def worker(
    app: Annotated[list[str], typer.Argument(help="Modules with your handlers, such as myproject.jobs.")],
    name: Annotated[str | None, typer.Option(help="Unique name of this worker, the same after a restart.")] = None,
    lane: Annotated[list[str] | None, typer.Option(help="Lane to read; repeatable; all when absent.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Jobs running on the event loop at once.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for handlers that are plain functions.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes under one supervisor, each restarted if it dies.")
    ] = None,
) -> None:
    """Execute jobs.

    SIGTERM or ctrl-C lets running jobs finish; another one, after two seconds or more, stops at once. Exit code 0 when
    every started job has finished, 4 when the grace period ended first: the remaining jobs are redelivered to another
    worker.

    Examples:

      millstream worker myproject.jobs

      millstream worker myproject.jobs --processes 4

      millstream worker myproject.jobs --name w1 --lane high --lane default --concurrency 200
    """
    settings = settings_module.load()
    given = {"worker_id": name, "lanes": tuple(lane) if lane else None, "concurrency": concurrency, "threads": threads}
    config = settings.worker.model_copy(update={key: value for key, value in given.items() if value is not None})
    # Said once, here, instead of by every restarted child.
    config.http_guard()
    if processes is not None:
        raise typer.Exit(_supervise(settings, config, app, processes))
    transactions = None
    if SUPERVISED not in os.environ:
        _check(settings, config)
    else:
        from millstream.consumers.parent_death import signal_on_parent_death
        from millstream.consumers.worker.transactions import open_transactions

        signal_on_parent_death(PARENT_DIED)
        log_as(settings, config.worker_id)
        # The supervisor starts a child after the one of the same name has ended, so this fences no running worker.
        transactions = open_transactions(settings.connection, settings.catalogue, config, lambda: True)
    _execute(settings, config, app, transactions)


def _check(settings: Settings, config: "WorkerConfig") -> None:
    from millstream.cli.kafka_access import check_service

    log_as(settings, config.worker_id or "worker")
    check_service(settings, "worker", config.lanes)


def _execute(
    settings: Settings, config: "WorkerConfig", app: list[str], transactions: "TransactionThread | None"
) -> None:
    from millstream.cli.handlers import load_handlers
    from millstream.consumers.worker import Drained, Worker
    from millstream.consumers.worker.execution.current_job import job_fields

    jobs = load_handlers(app)
    service = config.worker_id or "worker"
    log_as(settings, service, job_fields)
    set_up_child = partial(
        configure_logging, settings.log_format, settings.log_level, settings.redaction, job_fields, service=service
    )
    running = Worker(
        settings.connection,
        settings.catalogue,
        config,
        jobs,
        settings.codec,
        transactions,
        set_up_child,
        settings.redaction,
    )
    on_stop_signals(running.stop)
    if SUPERVISED in os.environ:
        signal.signal(PARENT_DIED, lambda *_: running.drain())
    # Thousands of short-lived objects are in flight: at the default threshold, collections would dominate CPU time.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    if running.run() is Drained.CUT_SHORT:
        raise typer.Exit(CUT_SHORT)


def _supervise(settings: Settings, config: "WorkerConfig", app: list[str], processes: int) -> int:
    from millstream.cli.handlers import load_handlers
    from millstream.consumers.worker import Supervisor, new_worker_id

    base = config.worker_id or new_worker_id(config.host)
    log_as(settings, base)
    # Report a wrong module name and a missing right once, here, instead of in every restarted child.
    load_handlers(app)
    _check(settings, config)
    names = [f"{base}-{number}" for number in range(processes)]
    for number in range(processes if config.health_port else 0):
        require_port(("worker.health_host", "worker.health_port"), config.health_host, config.health_port + number)

    def command(name: str) -> tuple[list[str], dict[str, str]]:
        argv = [sys.executable, "-m", "millstream", "worker", *app, "--name", name]
        for lane in config.lanes:
            argv += ["--lane", lane]
        argv += ["--concurrency", str(config.concurrency), "--threads", str(config.threads)]
        environment = {**os.environ, SUPERVISED: "1", "MILLSTREAM_WORKER__STATIC_MEMBERSHIP": "true"}
        if config.health_port:
            environment["MILLSTREAM_WORKER__HEALTH_PORT"] = str(config.health_port + names.index(name))
        return argv, environment

    supervisor = Supervisor(names, command, config.drain_grace_s, fatal_code=NAME_TAKEN)
    on_stop_signals(supervisor.stop)
    return supervisor.run()
