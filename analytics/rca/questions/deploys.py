"""Did a change make attempts worse? Before against after, and the new release against the old one while both ran."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.attempt_stats import AttemptStats, stats, stats_by
from millstream.analytics.rca.questions.rates import SURE, standard_errors
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

AROUND = timedelta(minutes=30)
SLOWER = 1.5
"""A p95 of so many times the earlier one is slower."""

FEWEST = 30
"""With fewer attempts on either side a p95 is not compared."""


@dataclass(frozen=True)
class DeployedChange:
    """A row of `changes`."""

    occurred_at: datetime
    kind: str
    service: str
    version: str
    author: str
    summary: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Canary:
    """A release against all others at the same time, on the job types that both ran."""

    version: str
    new: AttemptStats
    old: AttemptStats
    verdict: str


@dataclass(frozen=True)
class Effect:
    """The effect of one change: `verdict` is worse, better, no difference or too little data; `why` has the figures."""

    change: DeployedChange
    before_window: Window
    after_window: Window
    before: AttemptStats
    after: AttemptStats
    verdict: str
    why: str
    canary: Canary | None


def deploy_effects(client: Client, span: Window, around: timedelta = AROUND) -> list[Effect]:
    """The effect of each change in `span`, by the attempts of up to `around` before and after it, oldest first.

    The time before starts at the earliest at the previous change, the time after ends at the latest at the next one.
    """
    changes = ask(client, DeployedChange, "rca_changes", window(span.start, span.end))
    return [_effect(client, each, before, after) for each, before, after in _windows(changes, around)]


def judge(before: AttemptStats, after: AttemptStats) -> tuple[str, str]:
    """(verdict, why) for two sets of attempts: by failures first, then by run time, then by wait."""
    if min(before.attempts, after.attempts) == 0:
        return "too little data", f"{before.attempts} attempts before, {after.attempts} after"
    errors = standard_errors(before.failures, after.failures)
    if abs(errors) >= SURE:
        why = f"failures {before.failure_rate:.1%} → {after.failure_rate:.1%}"
        return ("worse" if errors > 0 else "better"), why
    if min(before.attempts, after.attempts) < FEWEST:
        return "too little data", f"{before.attempts} attempts before, {after.attempts} after"
    for name, was, now, least_ms in (
        ("run time p95", before.run_p95_ms, after.run_p95_ms, 20.0),
        ("queue wait p95", before.wait_p95_ms, after.wait_p95_ms, 50.0),
    ):
        why = f"{name} {was:,.0f} ms → {now:,.0f} ms"
        if now + least_ms >= SLOWER * (was + least_ms):
            return "worse", why
        if was + least_ms >= SLOWER * (now + least_ms):
            return "better", why
    return "no difference", f"failures {before.failure_rate:.1%} → {after.failure_rate:.1%}"


def _windows(changes: list[DeployedChange], around: timedelta) -> Iterator[tuple[DeployedChange, Window, Window]]:
    for each in changes:
        others = [other.occurred_at for other in changes if other.occurred_at != each.occurred_at]
        at = each.occurred_at
        begin = max([at - around, *(moment for moment in others if moment < at)])
        end = min([at + around, *(moment for moment in others if moment > at)])
        yield each, Window(begin, at), Window(at, end)


def _effect(client: Client, change: DeployedChange, before: Window, after: Window) -> Effect:
    earlier, later = stats(client, before), stats(client, after)
    canary = _canary(client, change.version, after)
    verdict, why = judge(earlier, later)
    if canary is not None and canary.verdict == "worse":
        verdict, why = "worse", judge(canary.old, canary.new)[1] + f" from other releases to {change.version}"
    return Effect(change, before, after, earlier, later, verdict, why, canary)


def _canary(client: Client, version: str, span: Window) -> Canary | None:
    """The release against the others in `span`; None when it did not run beside another one."""
    by_version = {each.value: each for each in stats_by(client, span, "worker_version")}
    new = by_version.pop(version, None)
    others = list(by_version.values())
    if not version or new is None or not others:
        return None
    old = max(others, key=lambda each: each.attempts)
    return Canary(version, new, old, judge(old, new)[0])
