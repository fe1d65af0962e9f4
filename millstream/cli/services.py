"""`millstream tracker` and `millstream sink`."""

import gc
import threading
from typing import Annotated

import structlog
import typer
from clickhouse_connect.driver.client import Client

from millstream import settings as settings_module
from millstream.analytics import ClickHouseUnavailable, pending
from millstream.cli.kafka_access import WAITING_LINES_S, check_service, wait_for_brokers
from millstream.cli.rewind import rewind_command
from millstream.cli.service import end_after, log_as, on_stop_signals
from millstream.clickhouse import connect
from millstream.consumers.sink.all_sinks import all_sinks, run_together
from millstream.consumers.sink.health import SinkHealth, health_server
from millstream.line_rate import LineRate
from millstream.listening import require_port
from millstream.malloc_arenas import share_arenas
from millstream.settings import Settings

log = structlog.get_logger(__name__)

RECONNECT_S = 2.0
STOP_WITHIN_S = 20.0
ARENAS = 2


def tracker() -> None:
    """Keep the current state of each job and serve it at `GET /jobs/{id}`."""
    # Only the tracker needs Faust, only the sink needs the rest of this module.
    from millstream.streams import build_app, run_tracker

    settings = settings_module.load()
    log_as(settings, "tracker")
    app = build_app(settings.connection, settings.catalogue, settings.codec, settings.tracker, settings.redaction)
    require_port(("tracker.host", "tracker.port"), settings.tracker.host, settings.tracker.port)
    stop = threading.Event()
    on_stop_signals(stop.set)
    # Faust ends with a traceback when no broker answers at its start.
    if wait_for_brokers(settings, stop):
        check_service(settings, "tracker")
        run_tracker(app)


sink = typer.Typer(invoke_without_command=True)
sink.command("rewind")(rewind_command)


@sink.callback()
def run_sink(
    context: typer.Context, name: Annotated[str, typer.Option(help="Name of this sink in logs.")] = "sink"
) -> None:
    """Write events, heartbeats, alerts, dead letters and changes to ClickHouse, each exactly once."""
    if context.invoked_subcommand:
        return
    # Its threads take turns with files of many megabytes.
    share_arenas(ARENAS)
    settings = settings_module.load()
    guard = settings.sink.http_guard()
    log_as(settings, name)
    stop = threading.Event()
    on_stop_signals(stop.set)
    end_after(stop, STOP_WITHIN_S, "what no commit acknowledges is inserted again under its token, which counts once")
    check_service(settings, "sink")
    # Buffered records are many, live long and form no cycles: collecting them would cost more than reading them.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    health = SinkHealth()
    with health_server(settings.sink.health_host, settings.sink.health_port, health, guard):
        client = _wait_for_clickhouse(settings, stop)
        if client is not None:
            sinks = all_sinks(
                settings.connection, settings.catalogue, client, settings.codec, settings.sink, settings.redaction
            )
            statuses = {each.topic: each.status for each in sinks}
            health.started(statuses, client.ping)
            run_together(sinks, stop)


def _wait_for_clickhouse(settings: Settings, stop: threading.Event) -> Client | None:
    """A client, once ClickHouse responds and every migration is applied; None when `stop` was set first. Kafka retains
    the records until then. A row that is inserted before all rollups exist would be missing from some of them."""
    lines = LineRate(WAITING_LINES_S)
    while not stop.is_set():
        try:
            client = connect(settings)
            if not (left := pending(client)):
                return client
            if lines.admit("migrations_pending") is not None:
                log.warning("migrations_pending", count=len(left), first=left[0], fix="millstream migrate")
        except ClickHouseUnavailable as error:
            if lines.admit("clickhouse_unavailable") is not None:
                log.warning("clickhouse_unavailable", reason=str(error))
        stop.wait(RECONNECT_S)
    return None
