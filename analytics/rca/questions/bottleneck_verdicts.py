"""What limits a queue, judged by facts.

By Little's law the number of waiting jobs is arrivals x wait, that of running jobs arrivals x run time. What limits a
queue shows in what is busy while jobs wait: every worker (saturation), one tenant at its concurrency limit, one job
type whose run time grew while its CPU time did not (a slow dependency), one partition (skew), or workers without a
partition (too few of them).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millstream.analytics.rca.questions.attempt_stats import AttemptStats

WAITING_MS = 1000.0
"""A p95 wait below this is not a queue."""

FULL = 0.85
"""A worker that runs this share of its peak on average is saturated; the queue before it grows without bound."""

AT_CEILING = 0.5
"""A tenant that runs at its peak for this share of the window has a concurrency limit."""

UNLIKE_OTHERS = 4.0
"""A tenant whose wait is so many times that of the others has a limit of its own."""

SLOWER = 2.0
IDLE_CPU = 0.3
"""CPU share below which an attempt mostly waits for a dependency."""

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
    """What the verdicts are judged by. `types_before` is of the window of the same length just before."""

    lanes: list[Load]
    tenants: list[Load]
    types: list[Load]
    partitions: list[Load]
    worker_loads: list[Load]
    workers: list[Busy]
    capacity: int
    """Sum of the peaks of these workers, each its own, in the window and the hours before it."""

    tenants_busy: list[Busy]
    types_now: list[AttemptStats]
    types_before: list[AttemptStats]
    backlog: int
    """Jobs submitted or due in the window that did not start in it."""

    workers_seen: int
    """Workers that ran an attempt in the window or the one before."""


@dataclass(frozen=True)
class BottleneckVerdict:
    """One bottleneck: its kind, what it concerns, and the figures that show it.

    `kind`: saturation, tenant_limit, slow_dependency, skewed_partition, too_few_partitions, stalled, none, unclear.
    """

    kind: str
    subject: str
    because: str
    remedy: str


def judge(facts: Facts) -> Iterator[BottleneckVerdict]:
    """Verdicts on the facts, most certain first: `none` when no jobs queue, `unclear` when they do and nothing shows
    why."""
    waiting = [each for each in facts.lanes if each.wait_p95_ms >= WAITING_MS]
    starts = sum(each.starts for each in facts.lanes)
    if not starts and facts.backlog > 0:
        yield BottleneckVerdict(
            "stalled", "all lanes", f"{facts.backlog:,} jobs wait and none started", "millstream doctor"
        )
        return
    if not waiting:
        yield BottleneckVerdict("none", "", f"no lane's jobs wait {WAITING_MS / 1000:.0f} s (p95)", "")
        return
    found = [*_slow_dependencies(facts), *_own_limits(facts), *_partitions(facts), *_saturation(facts, waiting)]
    yield from found
    if not found:
        lane = waiting[0]
        yield BottleneckVerdict(
            "unclear",
            f"lane {lane.value}",
            f"{lane.queued:.1f} jobs wait at once though the workers run {_utilisation(facts):.0%} of their peak",
            "millstream rca noisy-neighbours; millstream rca deploys",
        )


def _slow_dependencies(facts: Facts) -> Iterator[BottleneckVerdict]:
    before = {each.value: each for each in facts.types_before}
    for now in facts.types_now:
        was = before.get(now.value)
        if was and now.run_p95_ms >= SLOWER * was.run_p95_ms and now.cpu_share < IDLE_CPU and now.attempts >= 10:
            yield BottleneckVerdict(
                "slow_dependency",
                f"type {now.value}",
                f"its p95 run time went from {was.run_p95_ms:,.0f} to {now.run_p95_ms:,.0f} ms while it used the CPU "
                f"{now.cpu_share:.0%} of the time: it waits for a dependency",
                f"millstream rca errors; look at what {now.value} calls",
            )


def _own_limits(facts: Facts) -> Iterator[BottleneckVerdict]:
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
            yield BottleneckVerdict(
                "tenant_limit",
                f"tenant {tenant.value}",
                f"it ran {ceiling.peak} at once for {ceiling.at_peak:.0%} of the time and waits "
                f"{tenant.wait_p95_ms / 1000:,.1f} s (p95), others {typical / 1000:,.1f} s, with workers free",
                f"raise the quota of {tenant.value}, or ask it to submit less",
            )


def _partitions(facts: Facts) -> Iterator[BottleneckVerdict]:
    for lane in {each.value.rsplit("/", 1)[0] for each in facts.partitions}:
        parts = [each for each in facts.partitions if each.value.rsplit("/", 1)[0] == lane]
        total = sum(each.queued for each in parts)
        worst = max(parts, key=lambda each: each.queued)
        if len(parts) > 1 and worst.wait_p95_ms >= WAITING_MS and worst.queued * len(parts) >= SKEWED * total:
            arrivals = worst.arrivals / max(1, sum(each.arrivals for each in parts))
            yield BottleneckVerdict(
                "skewed_partition",
                f"partition {worst.value}",
                f"{worst.queued / total:.0%} of the waiting and {arrivals:.0%} of the arrivals are on 1 of "
                f"{len(parts)} partitions",
                "millstream rca compare; look for one ordering key that is used too often",
            )
    idle = facts.workers_seen - sum(each.starts > 0 for each in facts.worker_loads)
    used = len(facts.partitions)
    if idle > 0 and used and used <= len(facts.worker_loads):
        yield BottleneckVerdict(
            "too_few_partitions",
            f"{used} partitions",
            f"{idle} of {facts.workers_seen} workers started nothing while jobs waited: there is a partition for each "
            "of the others and none for them",
            "more partitions: MILLSTREAM_TOPICS__PARTITIONS, then `millstream topics apply --grow`",
        )


def _saturation(facts: Facts, waiting: Sequence[Load]) -> Iterator[BottleneckVerdict]:
    utilisation = _utilisation(facts)
    if utilisation < FULL:
        return
    arrivals, starts = (sum(getattr(each, name) for each in facts.lanes) for name in ("arrivals_per_s", "starts_per_s"))
    yield BottleneckVerdict(
        "saturation",
        ", ".join(f"lane {each.value}" for each in waiting),
        f"{len(facts.workers)} workers ran {utilisation:.0%} of their peak of {facts.capacity} at once; "
        f"{arrivals:,.1f} jobs a second came in, {starts:,.1f} started, {facts.backlog:,} were left waiting",
        "more workers, or a higher concurrency where CPU is left",
    )


def _utilisation(facts: Facts) -> float:
    return sum(each.mean for each in facts.workers) / facts.capacity if facts.capacity else 0.0
