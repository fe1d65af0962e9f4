"""What an incident cost: failures, affected tenants, money, error budget, and who submitted more than before."""

from dataclasses import dataclass
from datetime import timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics import queries
from millstream.analytics.rca.questions.attempt_stats import NO_ATTEMPTS, AttemptStats, stats, stats_by
from millstream.analytics.rca.questions.rates import SURE, standard_errors
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

SLO = 0.999
SLO_DAYS = 30


@dataclass(frozen=True)
class TenantImpact:
    """The attempts of one tenant in the incident, and in the window of the same length before it.

    `affected`: it failed more often than before, beyond chance.
    """

    tenant: str
    attempts: int
    failed: int
    failure_rate: float
    failure_rate_before: float
    wait_p95_ms: float
    wait_p95_before_ms: float
    affected: bool


@dataclass(frozen=True)
class Impact:
    """What the incident cost.

    `failures_beyond_usual` is compared with the failure rate of the window of the same length before it. For an
    objective of `slo` successful attempts, `burn_rate` is the failure rate over the allowed one, and `budget_used` the
    share of the error budget of 30 days that the failures used (0 to 1 and above). Money is in `currency`.
    """

    attempts: int
    jobs: int
    failed: int
    failures_beyond_usual: float
    tenants: list[TenantImpact]
    cost: float
    wasted_cost: float
    wasted_before: float
    currency: str
    slo: float
    burn_rate: float
    budget_used: float


@dataclass(frozen=True)
class Arrivals:
    """Submissions of one tenant in the incident and in the window of the same length before it."""

    tenant: str
    before: int
    now: int


@dataclass(frozen=True)
class _Submitted:
    dimension: str
    value: str
    submitted: int


def impact_of(client: Client, span: Window, before: Window, slo: float) -> Impact:
    """The impact in `span`, compared with the window `before` of the same length."""
    now, earlier = stats(client, span), stats(client, before)
    was = {each.value: each for each in stats_by(client, before, "tenant")}
    tenants = [_tenant(was.get(each.value, NO_ATTEMPTS), each) for each in stats_by(client, span, "tenant")]
    tenants.sort(key=lambda each: each.attempts * (each.failure_rate_before - each.failure_rate))
    costs, costs_before = (queries.cost_by_tenant(client, each.start, each.end) for each in (span, before))
    allowed = 1 - slo
    month = stats(client, Window(span.end - timedelta(days=SLO_DAYS), span.end)).attempts
    return Impact(
        now.attempts,
        now.jobs,
        now.failed,
        now.failed - earlier.failure_rate * now.attempts,
        tenants,
        sum(each.cost for each in costs),
        sum(each.wasted_cost for each in costs),
        sum(each.wasted_cost for each in costs_before),
        costs[0].currency if costs else "",
        slo,
        now.failure_rate / allowed,
        now.failed / (allowed * month) if month else 0.0,
    )


def _tenant(before: AttemptStats, now: AttemptStats) -> TenantImpact:
    return TenantImpact(
        now.value,
        now.attempts,
        now.failed,
        now.failure_rate,
        before.failure_rate,
        now.wait_p95_ms,
        before.wait_p95_ms,
        standard_errors(before.failures, now.failures) >= SURE,
    )


def arrivals_by_tenant(client: Client, span: Window, before: Window) -> list[Arrivals]:
    """Tenants with submissions in `span`, the largest increase first."""

    def submitted(of: Window) -> dict[str, int]:
        rows = ask(client, _Submitted, "rca_counts", window(of.start, of.end) | {"step_seconds": ("UInt32", "60")})
        counts: dict[str, int] = {}
        for row in rows:
            if row.dimension == "tenant":
                counts[row.value] = counts.get(row.value, 0) + row.submitted
        return counts

    now, was = submitted(span), submitted(before)
    found = [Arrivals(tenant, was.get(tenant, 0), count) for tenant, count in now.items()]
    return sorted(found, key=lambda each: each.before - each.now)
