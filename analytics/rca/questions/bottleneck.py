"""Where work queues up, and what holds it back.

By Little's law the jobs waiting at once are arrivals x wait, those running at once arrivals x run time. What limits a
queue shows in what is busy while it waits: every worker (saturation), one tenant at a ceiling (its own limit), one
type whose run time grew while its CPU did not (what it calls is slow), one partition (skew), or workers without any
partition (too few of them).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.performance import Metrics, metrics_by
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

CAPACITY_FROM = timedelta(hours=6)
"""How long before the window a worker may have shown how much it can run at once."""

WAITING_MS = 1000.0
"""A p95 wait under this is no queue worth a verdict."""

FULL = 0.85
"""A worker that runs this part of its peak on average is saturated; a queue before it grows without bound."""

AT_CEILING = 0.5
"""A tenant that runs as much as it ever does for this part of the window has a limit."""

UNLIKE_OTHERS = 4.0
"""A wait so many times that of the others is the waiter's own."""

SLOWER = 2.0
IDLE_CPU = 0.3
"""CPU share under which an attempt mostly waits for something else."""

SKEWED = 3.0


@dataclass(frozen=True)
class Load:
    """Arrivals and waiting of one lane, tenant, type, partition or worker; see the view `rca_load`."""

    value: str
    arrivals: int
    starts: int
    arrivals_per_s: float
    starts_per_s: float
    wait_mean_ms: float
    wait_p95_ms: float
    queued: float
    workers: int
    partitions: int


@dataclass(frozen=True)
class Busy:
    """Attempts that ran at once; `at_peak` is the share of the window near the peak, 0 to 1."""

    value: str
    mean: float
    peak: int
    at_peak: float


@dataclass(frozen=True)
class Facts:
    """What the verdicts are drawn from. `types_before` is of the window of the same length just before."""

    lanes: list[Load]
    tenants: list[Load]
    types: list[Load]
    partitions: list[Load]
    worker_loads: list[Load]
    workers: list[Busy]
    capacity: int
    """The most that these workers ran at once in the window and the hours before it, each for itself, summed up."""

    tenants_busy: list[Busy]
    types_now: list[Metrics]
    types_before: list[Metrics]
    backlog: int
    """Jobs submitted or due in the window that did not start in it."""

    workers_seen: int
    """Workers that ran anything in the window or the one before."""


@dataclass(frozen=True)
class Verdict:
    """One bottleneck: its kind, what it concerns, and the figures that say so.

    `kind`: saturation, tenant_limit, slow_dependency, skewed_partition, too_few_partitions, stalled, none, unclear.
    """

    kind: str
    subject: str
    because: str
    remedy: str


@dataclass(frozen=True)
class Bottleneck:
    """The answer, with the figures by lane, tenant and type."""

    span: Window
    verdicts: list[Verdict]
    facts: Facts


@dataclass(frozen=True)
class _Counts:
    submitted: int
    retries: int
    started: int
    dimension: str


def find_bottleneck(client: Client, span: Window) -> Bottleneck:
    """What held back the jobs that started, or should have started, in `span`."""
    found = gather(client, span)
    return Bottleneck(span, list(judge(found)), found)


def gather(client: Client, span: Window) -> Facts:
    """Ask ClickHouse for everything that `judge` looks at."""
    now = window(span.start, span.end)
    before = Window(span.start - (span.end - span.start), span.start)

    def load(by: str) -> list[Load]:
        return ask(client, Load, "rca_load", now | {"by": ("String", by)})

    def busy(by: str) -> list[Busy]:
        return ask(client, Busy, "rca_busy", now | {"by": ("String", by)})

    longer = window(span.start - CAPACITY_FROM, span.end) | {"by": ("String", "worker")}
    peaks = {each.value: each.peak for each in ask(client, Busy, "rca_busy", longer)}
    counts = ask(client, _Counts, "rca_counts", now | {"step_seconds": ("UInt32", "86400")})
    workers, earlier = busy("worker"), metrics_by(client, before, "worker_id")
    return Facts(
        load("lane"),
        load("tenant"),
        load("job_type"),
        load("partition"),
        load("worker"),
        workers,
        sum(peaks.get(each.value, each.peak) for each in workers),
        busy("tenant"),
        metrics_by(client, span, "job_type"),
        metrics_by(client, before, "job_type"),
        sum(each.submitted + each.retries - each.started for each in counts if not each.dimension),
        len({each.value for each in workers} | {each.value for each in earlier}),
    )


def judge(facts: Facts) -> Iterator[Verdict]:
    """What the facts say, most certain first; `none` when nothing queues, `unclear` when something does for no reason
    that shows."""
    waiting = [each for each in facts.lanes if each.wait_p95_ms >= WAITING_MS]
    starts = sum(each.starts for each in facts.lanes)
    if not starts and facts.backlog > 0:
        yield Verdict("stalled", "all lanes", f"{facts.backlog:,} jobs wait and none started", "millstream doctor")
        return
    if not waiting:
        yield Verdict("none", "", f"no lane's jobs wait {WAITING_MS / 1000:.0f} s (p95)", "")
        return
    found = [*_slow_dependencies(facts), *_own_limits(facts), *_partitions(facts), *_saturation(facts, waiting)]
    yield from found
    if not found:
        lane = waiting[0]
        yield Verdict(
            "unclear",
            f"lane {lane.value}",
            f"{lane.queued:.1f} jobs wait at once though the workers run {_utilisation(facts):.0%} of their peak",
            "millstream rca tenants; millstream rca deploys",
        )


def _slow_dependencies(facts: Facts) -> Iterator[Verdict]:
    before = {each.value: each for each in facts.types_before}
    for now in facts.types_now:
        was = before.get(now.value)
        if was and now.run_p95_ms >= SLOWER * was.run_p95_ms and now.cpu_share < IDLE_CPU and now.attempts >= 10:
            yield Verdict(
                "slow_dependency",
                f"type {now.value}",
                f"its p95 run time went from {was.run_p95_ms:,.0f} to {now.run_p95_ms:,.0f} ms while it used the CPU "
                f"{now.cpu_share:.0%} of the time: it waits for something it calls",
                f"millstream rca errors; look at what {now.value} calls",
            )


def _own_limits(facts: Facts) -> Iterator[Verdict]:
    if _utilisation(facts) >= FULL:
        return
    busy = {each.value: each for each in facts.tenants_busy}
    for tenant in facts.tenants:
        others = [each for each in facts.tenants if each.value != tenant.value and each.starts]
        ceiling = busy.get(tenant.value)
        if tenant.wait_p95_ms < WAITING_MS or not others or ceiling is None:
            continue
        typical = sum(each.wait_p95_ms * each.starts for each in others) / sum(each.starts for each in others)
        if tenant.wait_p95_ms >= UNLIKE_OTHERS * max(typical, 50) and ceiling.at_peak >= AT_CEILING:
            yield Verdict(
                "tenant_limit",
                f"tenant {tenant.value}",
                f"it ran {ceiling.peak} at once for {ceiling.at_peak:.0%} of the time and waits "
                f"{tenant.wait_p95_ms / 1000:,.1f} s (p95), others {typical / 1000:,.1f} s, with workers free",
                f"raise the quota of {tenant.value}, or tell it to send less",
            )


def _partitions(facts: Facts) -> Iterator[Verdict]:
    for lane in {each.value.rsplit("/", 1)[0] for each in facts.partitions}:
        parts = [each for each in facts.partitions if each.value.rsplit("/", 1)[0] == lane]
        total = sum(each.queued for each in parts)
        worst = max(parts, key=lambda each: each.queued)
        if len(parts) > 1 and worst.wait_p95_ms >= WAITING_MS and worst.queued * len(parts) >= SKEWED * total:
            arrivals = worst.arrivals / max(1, sum(each.arrivals for each in parts))
            yield Verdict(
                "skewed_partition",
                f"partition {worst.value}",
                f"{worst.queued / total:.0%} of the waiting and {arrivals:.0%} of the arrivals are on 1 of "
                f"{len(parts)} partitions",
                "millstream rca compare; look for one ordering key that is used too often",
            )
    idle = facts.workers_seen - sum(each.starts > 0 for each in facts.worker_loads)
    used = len(facts.partitions)
    if idle > 0 and used and used <= len(facts.worker_loads):
        yield Verdict(
            "too_few_partitions",
            f"{used} partitions",
            f"{idle} of {facts.workers_seen} workers started nothing while jobs waited: there is a partition for each "
            "of the others and none for them",
            "more partitions: MILLSTREAM_TOPICS__PARTITIONS, then `millstream topics apply`",
        )


def _saturation(facts: Facts, waiting: Sequence[Load]) -> Iterator[Verdict]:
    utilisation = _utilisation(facts)
    if utilisation < FULL:
        return
    arrivals, starts = (sum(getattr(each, name) for each in facts.lanes) for name in ("arrivals_per_s", "starts_per_s"))
    yield Verdict(
        "saturation",
        ", ".join(f"lane {each.value}" for each in waiting),
        f"{len(facts.workers)} workers ran {utilisation:.0%} of their peak of {facts.capacity} at once; "
        f"{arrivals:,.1f} jobs a second came in, {starts:,.1f} started, {facts.backlog:,} were left waiting",
        "more workers, or a higher concurrency where CPU is left",
    )


def _utilisation(facts: Facts) -> float:
    return sum(each.mean for each in facts.workers) / facts.capacity if facts.capacity else 0.0
