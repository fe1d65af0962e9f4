"""Checks of the services that run now: workers, how far each group is behind, commands that hold back jobs.

A check that Kafka refuses is a result too: it names what could not be read, and the right that is missing.
"""

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import KafkaException

from millstream.check_result import Check, CheckResult
from millstream.consumers.sink.sources import EVENTS, LOW_VOLUME
from millstream.live_state import GroupPosition, SeenWorker, read_positions, read_workers
from millstream.producers import CommandsUnreadable, active_commands
from millstream.schemas import Action, Command, WorkerState
from millstream.schemas.topics import OVERFLOW_GROUP
from millstream.settings import Settings

LOOK_BACK_S = 300.0
"""How far back restarts are looked for, in seconds."""

CLOCK_SKEW_S = 2.0
MANY_RESTARTS = 3
SHOWN_PAUSES = 10
FAR_BEHIND = 100_000
"""Records behind which a sink or a tracker counts as lagging: the sink's largest batch."""

Position = Mapping[str, GroupPosition]
Judge = Callable[[Position], Iterator[CheckResult]]


def live_checks(settings: Settings) -> list[Check]:
    """All checks of what runs."""
    connection, topics = settings.connection.quiet, settings.catalogue
    lanes = {f"{settings.worker.group}.{lane}": (topics.lane(lane),) for lane in topics.lanes}
    overflow = {f"{settings.worker.group}.{OVERFLOW_GROUP}": tuple(topics.overflow(lane) for lane in topics.lanes)}
    sinks = {source.group(settings.sink.group): (source.topic(topics),) for source in (EVENTS, *LOW_VOLUME)}
    tracker = {f"{topics.prefix}tracker": (topics.events,)}

    def workers() -> Iterator[CheckResult]:
        found = read_workers(connection, topics.heartbeats, settings.codec, LOOK_BACK_S)
        return check_workers(found, time.time())

    def of_groups(name: str, groups: Mapping[str, Sequence[str]], judge: Judge) -> Check:
        return guarded(
            name, f"allow Describe on groups {', '.join(groups)}", lambda: judge(read_positions(connection, groups))
        )

    return [
        guarded("workers", f"allow Read and Describe on topic {topics.heartbeats}", workers),
        guarded(
            "commands",
            f"allow Read on topic {topics.commands}",
            lambda: check_commands(active_commands(connection, topics, settings.codec)),
        ),
        of_groups("lanes", {**lanes, **overflow}, check_lanes),
        of_groups("sink lag", sinks, check_sinks),
        of_groups("tracker lag", tracker, check_tracker),
    ]


def guarded(check: str, fix: str, run: Check) -> Check:
    """The check; when Kafka refuses it or does not answer, it finds a warning that says so."""

    def result() -> Iterator[CheckResult]:
        try:
            yield from run()
        except KafkaException as error:
            yield CheckResult(check, "warning", f"cannot be checked: {error.args[0].str()}", fix)
        except CommandsUnreadable as error:
            yield CheckResult(check, "warning", f"cannot be checked: {error}", fix)

    return result


def check_workers(workers: Mapping[str, SeenWorker], now: float) -> Iterator[CheckResult]:
    """Who is alive, of which release; who has gone silent or starts again and again; whose clock is wrong. `now` is in
    seconds since 1970."""
    alive: list[SeenWorker] = []
    silent: list[str] = []
    for name, worker in sorted(workers.items()):
        if (silent_s := worker.silent_s(now)) is not None:
            silent.append(f"{name} ({silent_s:.0f} s ago, on {worker.last.host or 'an unknown host'})")
        elif worker.last.state is not WorkerState.STOPPED:
            alive.append(worker)
    if alive:
        releases = Counter(each.last.worker_version or "without a version" for each in alive)
        busy, capacity = sum(each.last.busy for each in alive), sum(each.last.capacity for each in alive)
        listed = ", ".join(
            f"{count} of {name}" if name != "without a version" else name for name, count in releases.items()
        )
        yield CheckResult(
            "workers", "ok", f"{len(alive)} alive ({listed}), {busy} jobs running, {capacity} could run at once"
        )
    else:
        yield CheckResult(
            "workers", "warning", "none has sent a heartbeat: nothing runs jobs", "millstream worker yourproject.jobs"
        )
    if silent:
        yield CheckResult(
            "workers",
            "warning",
            f"{len(silent)} ended without saying so, last seen: {_some(silent)}",
            "their jobs run at others; look for why in their logs (out of memory, kill -9, a lost host)",
        )
    restarted = {name: len(each.incarnations) - 1 for name, each in workers.items() if len(each.incarnations) > 1}
    if restarted:
        named = [f"{name} {count}x" for name, count in sorted(restarted.items(), key=lambda each: (-each[1], each[0]))]
        yield CheckResult(
            "restarts",
            "warning" if max(restarted.values()) >= MANY_RESTARTS else "ok",
            f"in the last {LOOK_BACK_S / 60:.0f} minutes: {_some(named)}",
            "look for why in their logs" if max(restarted.values()) >= MANY_RESTARTS else "",
        )
    skewed = {name: each.ahead_s for name, each in workers.items() if abs(each.ahead_s) > CLOCK_SKEW_S}
    if skewed:
        named = [f"{name} {ahead_s:+.1f} s" for name, ahead_s in sorted(skewed.items())]
        yield CheckResult(
            "clocks",
            "warning",
            f"workers' clocks differ from the brokers': {_some(named)}; deadlines and wait times are wrong by as much",
            "run NTP on those hosts, and on the brokers",
        )


def check_commands(active: Sequence[Command]) -> Iterator[CheckResult]:
    """Pauses, which hold back jobs until somebody resumes them, and quotas."""
    pauses = [each for each in active if each.action is Action.PAUSE]
    quotas = [each for each in active if each.action is Action.SET_QUOTA]
    for each in pauses[:SHOWN_PAUSES]:
        since = each.issued_at.astimezone().strftime("%Y-%m-%d %H:%M")
        reason = f": {each.reason}" if each.reason else ""
        yield CheckResult(
            "commands",
            "warning",
            f"{each.scope.value} {each.target} is paused since {since} by {each.issued_by or 'somebody'}{reason}",
            f"millstream commands resume {each.scope.value} {shlex.quote(each.target)}",
        )
    if len(pauses) > SHOWN_PAUSES:
        more = len(pauses) - SHOWN_PAUSES
        yield CheckResult("commands", "warning", f"{more:,} more are paused", "millstream commands list")
    if not pauses:
        listed = [f"{each.scope.value} {each.target}" for each in quotas]
        yield CheckResult(
            "commands", "ok", "nothing is paused" + (f"; quotas by command: {_some(listed)}" if listed else "")
        )


def check_lanes(positions: Position) -> Iterator[CheckResult]:
    """Whether somebody reads each lane, and what waits there."""
    abandoned = [group.rpartition(".")[2] for group, each in positions.items() if not each.active and each.behind]
    waiting = ", ".join(f"{group.rpartition('.')[2]} {each.behind:,}" for group, each in positions.items())
    if abandoned:
        yield CheckResult(
            "lanes",
            "failed",
            f"no worker reads {', '.join(abandoned)}; records not done: {waiting}",
            "start a worker that reads these lanes (without --lane it reads all)",
        )
    else:
        yield CheckResult("lanes", "ok", f"records not done, with transaction markers: {waiting}")


def check_sinks(positions: Position) -> Iterator[CheckResult]:
    """Whether a sink stores each topic, and how far it is behind."""
    yield _readers("sink lag", positions, "millstream sink", "the sink", "ClickHouse")


def check_tracker(positions: Position) -> Iterator[CheckResult]:
    """Whether a tracker follows the events, and how far it is behind."""
    yield _readers("tracker lag", positions, "millstream tracker", "the tracker", "`millstream job show`")


def _readers(check: str, positions: Position, command: str, who: str, where: str) -> CheckResult:
    behind = sum(each.behind for each in positions.values())
    absent = [group for group, each in positions.items() if not each.active]
    if absent:
        return CheckResult(
            check, "warning", f"nobody is in the group {', '.join(absent)}; {behind:,} records wait", command
        )
    if behind > FAR_BEHIND:
        return CheckResult(
            check,
            "warning",
            f"{who} is {behind:,} records behind: {where} shows the past",
            f"wait, look at its log, or start another `{command}`",
        )
    return CheckResult(check, "ok", f"{behind:,} records behind")


def _some(texts: Sequence[str]) -> str:
    """The first few."""
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")
