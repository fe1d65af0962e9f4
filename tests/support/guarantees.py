"""What must hold whatever breaks, as objects: each looks at the whole history once, at the end.

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
    """`violations` says in words what of a history breaks it; nothing when it holds."""

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
    """Jobs of one ordering key end in the order in which they were submitted, and none starts before the one before it
    has its outcome.

    Legal:    started a (x1), started a (x2), succeeded a (x2), started b, succeeded b
    Illegal:  started a, started b, succeeded a, succeeded b
    """

    def violations(self, history: History) -> list[str]:
        started: dict[str, datetime] = {}
        ended: dict[str, datetime] = {}
        for event in history.outcomes:
            if event.started_at is not None:
                started[event.job_id], ended[event.job_id] = event.started_at, event.occurred_at
        return [
            f"key {key}: {later} started before {earlier} had ended"
            for key, ids in history.keys.items()
            for earlier, later in pairwise(ids)
            if earlier in ended and later in started and started[later] < ended[earlier]
        ]


@dataclass
class NoStarvation:
    """No tenant's jobs all wait while another's run: in every span of `within`, a tenant that has jobs waiting sees one
    of them end.

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
                    found.append(f"tenant {tenant} saw nothing end for {(moment - previous).total_seconds():.1f} s")
                previous = moment
        return found


def report(history: History, guarantees: list[Guarantee]) -> list[str]:
    """Print the counts, and return every violation of every guarantee."""
    violations = [f"{type(each).__name__}: {text}" for each in guarantees for text in each.violations(history)]
    starts = sum(event.kind is EventKind.STARTED for event in history.events)
    ended = {event.job_id for event in history.outcomes if event.final}
    attempts = Counter((event.job_id, event.attempt) for event in history.outcomes)
    print(
        f"accepted={len(history.accepted)} ended={len(ended & set(history.accepted))} executions={starts} "
        f"outcomes={len(history.outcomes)} lost={len(set(history.accepted) - ended)} "
        f"doubled={sum(count > 1 for count in attempts.values())} "
        f"held={', '.join(type(each).__name__ for each in guarantees)}"
    )
    return violations
