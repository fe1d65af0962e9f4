"""The generated workload: four tenants, four job types, and one planted incident.

Half of the workers run release 1.4.2, which forgot to ship a template. Half way through, tenant `initech` begins to use
it: from then on every `reports.render` of its that lands on one of those workers fails. Besides that a few jobs fail as
jobs do, so that the incident has to stand out.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from millstream.producers import NewJob

GOOD_VERSION, BAD_VERSION = "1.4.1", "1.4.2"
INCIDENT_TENANT, INCIDENT_TYPE = "initech", "reports.render"
INCIDENT_BEGINS = 0.5
"""Part of the jobs that are submitted before the tenant uses the template."""

TENANTS = {"acme": 0.35, "globex": 0.25, "initech": 0.3, "umbrella": 0.1}
"""Share of the jobs of each tenant."""


@dataclass(frozen=True)
class WorkloadType:
    """One job type: its share, its lane, its median run time in seconds, and how much it computes."""

    job_type: str
    share: float
    lane: str
    seconds: float
    cpu_rounds: int


WORKLOAD_TYPES = (
    WorkloadType("emails.send", 0.3, "high", 0.008, 0),
    WorkloadType("images.resize", 0.3, "default", 0.015, 600),
    WorkloadType("reports.render", 0.3, "default", 0.04, 300),
    WorkloadType("exports.csv", 0.1, "bulk", 0.08, 0),
)


def generated(count: int, seed: int = 7) -> Iterator[NewJob]:
    """`count` jobs, the same ones for the same seed."""
    dice = random.Random(seed)
    tenants, weights = list(TENANTS), list(TENANTS.values())
    shares = [kind.share for kind in WORKLOAD_TYPES]
    for number in range(count):
        tenant = dice.choices(tenants, weights)[0]
        kind = dice.choices(WORKLOAD_TYPES, shares)[0]
        planted = tenant == INCIDENT_TENANT and kind.job_type == INCIDENT_TYPE and number >= INCIDENT_BEGINS * count
        yield NewJob(
            kind.job_type,
            {
                "seconds": round(min(kind.seconds * dice.lognormvariate(0, 0.5), 1.0), 4),
                "cpu_rounds": kind.cpu_rounds,
                "fails": "connection refused by the upstream service" if dice.random() < 0.01 else "",
                "fails_on": [BAD_VERSION] if planted else [],
            },
            tenant=tenant,
            lane=kind.lane,
            labels={"team": "growth" if tenant in ("acme", "globex") else "core", "order": str(number % 10)},
        )
