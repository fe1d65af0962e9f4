"""The guarantees that hold whatever breaks, as objects: each checks the whole history once, at the end.

The history is `jobs.events` as an independent read_committed reader sees it, and the jobs that Kafka acknowledged.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Protocol

from millstream.schemas import OUTCOMES, EventKind, JobEvent


@dataclass
class History:
    """What was submitted (ids, in order of submission for each ordering key) and every event that became visible."""

    accepted: list[str]
    events: list[JobEvent]
    keys: dict[str, list[str]] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[JobEvent]:
        return [event for event in self.events if event.kind in OUTCOMES]


class Guarantee(Protocol):
    """`violations` describes what in a history breaks the guarantee; it is empty when the guarantee holds."""

    def violations(self, history: History) -> list[str]: ...


class NoJobLost:
    """Every accepted job has a final outcome.

    Legal:    accepted a; started a (x1), started a (x2), succeeded a (x2)    x1 died with its worker
    Illegal:  accepted a, b; started a, succeeded a                           b never ran
    Illegal:  accepted a; started a, failed a (not final)                     its next attempt never ran
    """

    def violations(self, history: History) -> list[str]:
        ended = {event.job_id for event in history.outcomes if event.final}
        return [f"job {job_id} has no final outcome" for job_id in history.accepted if job_id not in ended]


class OneOutcomePerAttempt:
    """No attempt has two outcomes, and each outcome belongs to an execution that was seen to start.

    Legal:    started a/1 (x1), started a/1 (x2), succeeded a/1 (x2)
    Illegal:  succeeded a/1 (x1), succeeded a/1 (x2)
    Illegal:  succeeded a/1 (x3) without started a/1 (x3)
    """

    def violations(self, history: History) -> list[str]:
        counts = Counter((event.job_id, event.attempt) for event in history.outcomes)
        started = {event.execution_id for event in history.events if event.kind is EventKind.STARTED}
        return [
            f"attempt {job}/{attempt} has {count} outcomes" for (job, attempt), count in counts.items() if count > 1
        ] + [
            f"execution {event.execution_id} of {event.job_id} ended and never started"
            for event in history.outcomes
            if event.execution_id not in started
        ]


class OrderPerKey:
    """Jobs of one ordering key end in the order in which they were submitted, and no two of them run at once.

    A worker that dies or loses its partitions may have run several jobs of a key in vain, one after the other, so a
    start before the outcome of the job before is legal where the same worker had started that job too, and only before
    the execution that has the outcome began.

    Legal:    started a (x1), started a (x2), succeeded a (x2), started b, succeeded b
    Legal:    started a (w1), started b (w1), started a (w2), succeeded a (w2), started b (w2), succeeded b (w2)
    Illegal:  started a, started b, succeeded a, succeeded b
    Illegal:  started a (w1), started b (w2), succeeded a (w1), started b (w1), succeeded b (w1)
    """

    def violations(self, history: History) -> list[str]:
        ran = {event.job_id: (event.started_at, event.occurred_at) for event in history.outcomes if event.started_at}
        starts: dict[str, set[tuple[str, datetime]]] = defaultdict(set)
        for event in history.events:
            if event.started_at is not None:
                starts[event.job_id].add((event.worker_id or "", event.started_at))
        return [
            f"key {key}: {later} started at {worker} before {earlier} had ended"
            for key, ids in history.keys.items()
            for earlier, later in pairwise(ids)
            if earlier in ran
            for worker, moment in sorted(starts[later])
            if moment < ran[earlier][1] and not _in_vain_after(starts[earlier], worker, moment, ran[earlier][0])
        ]


def _in_vain_after(earlier: set[tuple[str, datetime]], worker: str, moment: datetime, ran_from: datetime) -> bool:
    """Whether a worker had started the earlier job before `moment`, and the execution that counts began later."""
    return moment < ran_from and any(who == worker and when < moment for who, when in earlier)


@dataclass
class NoStarvation:
    """In every span of `within`, a tenant that has waiting jobs has one of them end, whatever other tenants run.

    Legal:    flood, flood, small, flood ...
    Illegal:  flood, flood, flood ... for longer than `within`, while small waits
    """

    within: timedelta

    def violations(self, history: History) -> list[str]:
        ends: dict[str, list[datetime]] = defaultdict(list)
        submitted: dict[str, list[datetime]] = defaultdict(list)
        for event in history.outcomes:
            ends[event.tenant].append(event.occurred_at)
            submitted[event.tenant].append(event.submitted_at)
        found = []
        for tenant, moments in ends.items():
            previous = min(submitted[tenant])
            for moment in sorted(moments):
                waiting = [each for each in submitted[tenant] if each <= previous]
                if waiting and moment - previous > self.within:
                    found.append(f"no job of tenant {tenant} ended for {(moment - previous).total_seconds():.1f} s")
                previous = moment
        return found


ALWAYS: list[Guarantee] = [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey(), NoStarvation(timedelta(seconds=45))]
"""What holds in every scenario in which jobs of several tenants arrive all the time."""


def figures(history: History) -> dict[str, int]:
    """What a history counts: jobs, executions, outcomes, and what the guarantees forbid."""
    ended = {event.job_id for event in history.outcomes if event.final}
    attempts = Counter((event.job_id, event.attempt) for event in history.outcomes)
    return {
        "submitted": len(history.accepted),
        "ended": len(ended & set(history.accepted)),
        "outcomes": len(history.outcomes),
        "executions": sum(event.kind is EventKind.STARTED for event in history.events),
        "lost": len(set(history.accepted) - ended),
        "doubled": sum(count > 1 for count in attempts.values()),
    }


def violations(history: History, guarantees: list[Guarantee]) -> list[str]:
    """Every violation of every guarantee, each with the name of its guarantee."""
    return [f"{type(each).__name__}: {text}" for each in guarantees for text in each.violations(history)]
