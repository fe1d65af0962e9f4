"""Which tenants delay others: whose attempts ran while jobs of other tenants waited."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.attempt_stats import AttemptStats, stats_by
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

NOTICED_MS = 1000.0
"""A tenant whose p95 wait is shorter is not delayed."""

BLAMED = 0.5
"""Share of the wait of a victim from which on one tenant is named as its cause."""


@dataclass(frozen=True)
class Blame:
    """Waiting of `victim` on `lane`, in seconds, while attempts of `culprit` ran.

    `share`: of the victim's waiting on the lane; `busy_share`: of the lane's run time that was the culprit's.
    """

    lane: str
    victim: str
    culprit: str
    waited_s: float
    share: float
    busy_share: float


@dataclass(frozen=True)
class NoisyNeighbours:
    """Waits of the tenants of a window, and whose attempts they waited behind."""

    span: Window
    verdicts: list[str]
    tenants: list[AttemptStats]
    blames: list[Blame]


def noisy_neighbours(client: Client, span: Window) -> NoisyNeighbours:
    """The tenants that waited, and the tenants they waited behind."""
    blames = ask(client, Blame, "rca_blame", window(span.start, span.end))
    tenants = stats_by(client, span, "tenant")
    return NoisyNeighbours(span, list(judge(tenants, blames)), tenants, blames)


def judge(tenants: Sequence[AttemptStats], blames: Sequence[Blame]) -> Iterator[str]:
    """One line for each delayed tenant, longest wait first; one line when there is none."""
    delayed = sorted((each for each in tenants if each.wait_p95_ms >= NOTICED_MS), key=lambda each: -each.wait_p95_ms)
    for tenant in delayed:
        behind = [each for each in blames if each.victim == tenant.value]
        waits = f"{tenant.value} waits {tenant.wait_p95_ms / 1000:,.1f} s (p95)"
        if not behind:
            yield f"{waits} while nothing else ran on its lanes: other tenants are not the cause"
            continue
        most = max(behind, key=lambda each: each.waited_s)
        if most.culprit == tenant.value:
            yield f"{waits} mostly behind its own jobs ({most.share:.0%} on lane {most.lane})"
        elif most.share >= BLAMED:
            yield (
                f"{waits} behind {most.culprit}, which took {most.busy_share:.0%} of the run time of lane {most.lane} "
                f"({most.share:.0%} of the waiting)"
            )
        else:
            yield f"{waits} behind several tenants, most behind {most.culprit} ({most.share:.0%} on lane {most.lane})"
    if not delayed:
        yield f"no tenant waits longer than {NOTICED_MS / 1000:.0f} s (p95)"
