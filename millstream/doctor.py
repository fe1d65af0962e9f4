"""Checks of everything that Millstream needs, each with a fix for what is wrong.

Each check examines one thing and never raises: what it cannot determine is a result too.
"""

import platform
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any

import httpx
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from millstream.analytics.client import CredentialsRejected, server_text
from millstream.analytics.sql import rows
from millstream.analytics.warehouse.migrate import pending
from millstream.analytics.warehouse.pause import pausing
from millstream.analytics.warehouse.reconciliation.differing import complete_since, differing_periods
from millstream.check_result import CheckResult, side_by_side
from millstream.live_checks import guarded, live_checks
from millstream.rights.connection import ConnectionRejected, check_connection
from millstream.schemas.denial import named
from millstream.settings import Settings
from millstream.topic_growth import read_growth
from millstream.topics import inspect_topics

CLOCK_SKEW_S = 2.0
KAFKA_TIMEOUT_S = 5.0
TRACKER_BEHIND_S = 60.0
AGREEMENT_WINDOW = timedelta(hours=3)
AGREEMENT_AFTER = timedelta(minutes=5)
"""How old an event is when its rollups are compared: most of what happened since may be on its way."""

CREDENTIALS_FIX = (
    "set MILLSTREAM_CLICKHOUSE__USER and MILLSTREAM_CLICKHOUSE__PASSWORD, or run this in the folder of `millstream up`"
)

SEGMENT_DAYS = 7
"""How long a segment may take to be closed, and so to be deleted (`segment.ms` of a stock broker)."""


def run_checks(settings: Settings, connect: Callable[[Settings], Client]) -> Iterator[CheckResult]:
    """Run all checks. `connect` opens the ClickHouse client."""
    yield _versions()
    yield from side_by_side(
        [lambda: _kafka(settings), lambda: _clickhouse(settings, connect), lambda: [_tracker(settings)]]
    )
    yield _local_tools()


def _versions() -> CheckResult:
    names = ("millstream", "confluent-kafka", "faust-streaming", "clickhouse-connect")
    found = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return CheckResult("versions", "ok", f"Python {platform.python_version()}, {found}")


def _kafka(settings: Settings) -> Iterator[CheckResult]:
    try:
        if not check_connection(settings.connection, KAFKA_TIMEOUT_S):
            yield _no_broker(settings, "no broker answers")
            return
        admin = AdminClient(settings.connection.quiet.client(socket_timeout_ms=int(KAFKA_TIMEOUT_S * 1000)))
        cluster = admin.list_topics(timeout=KAFKA_TIMEOUT_S)
    except ConnectionRejected as error:
        yield CheckResult(
            "kafka",
            "failed",
            str(error),
            "check kafka.options, kafka.sasl_username and kafka.sasl_password; docs/security.md shows them",
        )
        return
    except KafkaException as error:
        yield _no_broker(settings, error.args[0].str())
        return
    count = len(cluster.brokers)
    yield CheckResult("kafka", "ok", f"{settings.kafka.bootstrap}: {count} broker{'s' if count > 1 else ''}")
    yield from side_by_side(
        [
            guarded("topics", "allow Describe and DescribeConfigs on the topics", lambda: [_topics(settings)]),
            lambda: _unfinished_growth(settings),
            lambda: _broker_settings(settings, admin, next(iter(cluster.brokers))),
            *live_checks(settings),
        ]
    )


def _no_broker(settings: Settings, reason: str) -> CheckResult:
    return CheckResult(
        "kafka",
        "failed",
        f"{settings.kafka.bootstrap} does not respond: {reason}",
        "start one with `millstream up`, or set MILLSTREAM_KAFKA__BOOTSTRAP",
    )


def _topics(settings: Settings) -> CheckResult:
    try:
        found = inspect_topics(settings.connection.quiet, settings.catalogue, settings.topics.replication)
    except KafkaException as error:
        return CheckResult(
            "topics",
            "warning",
            f"cannot be compared with the catalogue: {error.args[0].str()}",
            "`millstream acls --role doctor` prints the rights that this needs",
        )
    wrong = [each for each in found if each.status != "ok"]
    if not wrong:
        replicas = min(each.replicas for each in found)
        detail = f"all {len(found)} match the catalogue; {replicas} replica{'s' if replicas > 1 else ''} at least"
        return CheckResult("topics", "ok", detail)
    shown = "; ".join(f"{each.topic.name}: {', '.join(each.problems)}" for each in wrong[:3])
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    missing = any(each.status == "missing" for each in wrong)
    fix = "millstream topics apply" + (" --grow" if any(each.must_grow for each in wrong) else "")
    return CheckResult("topics", "failed" if missing else "warning", shown + more, fix)


def _unfinished_growth(settings: Settings) -> Iterator[CheckResult]:
    try:
        growth = read_growth(settings.connection.quiet, settings.catalogue)
    except KafkaException as error:
        yield CheckResult(
            "partitions",
            "warning",
            f"cannot tell whether a lane grows: {error.args[0].str()}",
            "millstream topics apply, or `millstream acls --role doctor` if a right is missing",
        )
        return
    for each in growth.values():
        if each.unfinished:
            yield CheckResult(
                "partitions",
                "failed",
                f"{each.topic} grows, and workers do not read its new partitions until that is finished",
                "wait a minute; if nobody grows it at the moment, millstream topics apply --grow",
            )


def _broker_settings(settings: Settings, admin: AdminClient, broker: int) -> Iterator[CheckResult]:
    try:
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        entries = next(iter(admin.describe_configs([resource], request_timeout=KAFKA_TIMEOUT_S).values())).result()
        values = {name: entry.value for name, entry in entries.items()}
    except KafkaException as error:
        yield CheckResult(
            "broker settings",
            "warning",
            f"cannot be read: {named(error, settings.connection.user, 'DescribeConfigs', 'the cluster').args[0].str()}",
            "`millstream acls --role doctor` prints the rights that this needs",
        )
        return
    if "transaction.max.timeout.ms" not in values:
        yield CheckResult(
            "broker settings",
            "warning",
            "this is not Apache Kafka (Tansu?): data is in memory only; commit metadata is not stored, so finished "
            "jobs may run again after a crash; readers see aborted transactions",
            "sufficient to try Millstream; use Apache Kafka for everything else",
        )
        return
    session, shortest = settings.worker.session_timeout_ms, int(values.get("group.min.session.timeout.ms", 6000))
    if session < shortest:
        yield CheckResult(
            "broker settings",
            "failed",
            f"worker.session_timeout_ms is {session}, the broker requires at least {shortest}",
            f"set MILLSTREAM_WORKER__SESSION_TIMEOUT_MS={shortest}",
        )
    yield from _group_protocol(settings, values)
    metadata_limit = int(values.get("offset.metadata.max.bytes", 4096))
    if metadata_limit < 4096:
        yield CheckResult(
            "broker settings",
            "warning",
            f"offset.metadata.max.bytes is {metadata_limit}: the broker rejects commits with more metadata",
            "set it to 4096, the default",
        )
    yield from _offsets_retention(settings, int(values.get("offsets.retention.minutes") or 10_080))
    yield CheckResult(
        "broker settings", "ok", f"sessions from {shortest} ms, {metadata_limit} bytes of commit metadata"
    )


def _offsets_retention(settings: Settings, minutes: int) -> Iterator[CheckResult]:
    """Commits of a group without members expire. If its jobs are kept for longer, the next worker does not know which
    of them have run."""
    needed = round((settings.topics.retention_days + SEGMENT_DAYS) * 24 * 60)
    if minutes < needed:
        yield CheckResult(
            "offsets retention",
            "warning",
            f"offsets.retention.minutes is {minutes}: when no worker reads a lane for that long, its commits expire "
            f"while its topic still holds jobs that have run (topics.retention_days is "
            f"{settings.topics.retention_days:g}, and a segment lives up to {SEGMENT_DAYS} days longer)",
            f"set it to {needed} on the brokers",
        )


def _group_protocol(settings: Settings, values: dict[str, str | None]) -> Iterator[CheckResult]:
    """With KIP-848 the broker sets the session timeout, which delays the takeover of a dead worker's jobs."""
    session_ms = int(values.get("group.consumer.session.timeout.ms") or 45_000)
    if settings.worker.group_protocol == "consumer" and session_ms > settings.worker.session_timeout_ms:
        yield CheckResult(
            "group protocol",
            "warning",
            f"with worker.group_protocol=consumer a dead worker's jobs wait {session_ms / 1000:g} s for a takeover",
            "set group.consumer.session.timeout.ms and group.consumer.min.session.timeout.ms on the brokers to "
            f"{settings.worker.session_timeout_ms}, or use worker.group_protocol=classic",
        )


def _clickhouse(settings: Settings, connect: Callable[[Settings], Client]) -> Iterator[CheckResult]:
    try:
        client = connect(settings)
        sent = time.time()
        version, now = rows(client, "SELECT version(), toUnixTimestamp64Micro(now64(6))")[0]
        received = time.time()
    except (ClickHouseError, OSError) as error:
        if "UNKNOWN_DATABASE" in str(error):
            detail = f"{settings.clickhouse.url} responds, and has no database {settings.clickhouse.database}"
            yield CheckResult("clickhouse", "failed", detail, "millstream migrate")
            return
        if isinstance(error, CredentialsRejected):
            yield CheckResult("clickhouse", "failed", str(error), CREDENTIALS_FIX)
            return
        yield CheckResult(
            "clickhouse",
            "failed",
            f"{settings.clickhouse.url} does not respond: {str(error).splitlines()[0]}",
            "start one with `millstream up`, or set MILLSTREAM_CLICKHOUSE__URL",
        )
        return
    yield CheckResult("clickhouse", "ok", f"{settings.clickhouse.url}: version {version}")
    yield _clock(sent, received, now / 1e6)
    waiting = pending(client)
    if waiting:
        names = ", ".join(waiting)
        yield CheckResult("tables", "failed", f"migrations not applied: {names}", "millstream migrate")
    else:
        yield CheckResult("tables", "ok", "all migrations are applied")
        yield _agreement(settings, client)
    for command in pausing(client):
        yield CheckResult(
            "sinks",
            "warning",
            f"sinks insert nothing: `millstream {command}` runs or was interrupted",
            f"wait until it has ended; if nobody runs it, millstream {command}",
        )


def _agreement(settings: Settings, client: Client) -> CheckResult:
    """Compare the rollups of the last hours with the raw rows."""
    now = datetime.now(UTC)
    until = now - AGREEMENT_AFTER
    try:
        since = max(until - AGREEMENT_WINDOW, complete_since(settings.clickhouse.raw_days, now))
        found = differing_periods(client, since, until)
    except ClickHouseError as error:
        return CheckResult(
            "rollups", "warning", f"cannot be compared: {server_text(error).splitlines()[0]}", "millstream tables check"
        )
    hours = f"{AGREEMENT_WINDOW.total_seconds() / 3600:g}"
    if not found:
        return CheckResult("rollups", "ok", f"those of the last {hours} hours agree with the raw rows")
    tables = ", ".join(dict.fromkeys(each.table for each in found))
    first = min(each.start for each in found)
    return CheckResult(
        "rollups",
        "failed",
        f"{tables} disagree with the raw rows of the last {hours} hours, first at {first:%Y-%m-%d %H:%M}",
        "millstream tables check, then millstream tables repair",
    )


def _clock(sent: float, received: float, theirs: float) -> CheckResult:
    """Compare this clock with ClickHouse's. The duration of the query does not count as skew."""
    skew = 0.0 if sent <= theirs <= received else min(abs(theirs - sent), abs(theirs - received))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if skew > CLOCK_SKEW_S:
        detail = (
            f"this clock ({now}) and ClickHouse's differ by {skew:.1f} s: wait times and rollups are wrong by as much"
        )
        return CheckResult("clock", "warning", detail, "run NTP on both hosts")
    return CheckResult("clock", "ok", f"{now}, within {skew:.3f} s of ClickHouse's")


def _tracker(settings: Settings) -> CheckResult:
    url = settings.tracker.url
    try:
        response = httpx.get(f"{url}/health", timeout=3)
    except httpx.HTTPError as error:
        fix = "millstream tracker (jobs run without it; `millstream job show` needs it)"
        return CheckResult("tracker", "warning", f"{url} does not respond: {error}", fix)
    if response.status_code != httpx.codes.OK:
        return CheckResult(
            "tracker", "warning", f"{url} is not ready: {response.text[:100]}", "wait until it has recovered"
        )
    lag = _json_object(response)
    seconds = float(lag.get("seconds_behind") or 0)
    if seconds > TRACKER_BEHIND_S:
        detail = f"{url} is {seconds:.0f} s behind the events ({lag.get('records_behind')} records)"
        return CheckResult("tracker", "warning", detail, "wait, or run one more: each takes a share of the partitions")
    return CheckResult("tracker", "ok", url)


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _local_tools() -> CheckResult:
    found = [name for name in ("java", "mvn", "docker") if shutil.which(name)]
    if {"java", "mvn"} <= set(found):
        return CheckResult("local stack", "ok", "`millstream up` can run Apache Kafka (java and mvn are on the PATH)")
    return CheckResult(
        "local stack",
        "warning",
        "java and mvn are not both on the PATH: `millstream up` will run Tansu, in memory only",
        "install Java 17 and Maven, or pass --broker HOST:PORT",
    )
