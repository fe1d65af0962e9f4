"""The generated workload: four tenants, four job types, and one planted incident.

Half of the workers run release 1.4.2, from which a template is missing. Half way through, tenant `initech` begins to
use it: from then on each of its `reports.render` jobs that runs on one of those workers fails. In addition, 1 % of all
jobs fail at random, so that the incident must be separated from noise.
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
    """One job type: its share, its lane, its median run time in seconds, and its rounds of computing."""

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
