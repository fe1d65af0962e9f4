"""The planted incident as an operator meets it: what was changed, and when failures began to rise."""

from datetime import datetime, timedelta

import numpy as np
from clickhouse_connect.driver.client import Client

from millstream.analytics.asking import ask, window
from millstream.analytics.rca.attempts import Window
from millstream.analytics.rca.course import CourseStep
from millstream.analytics.rca.detection import LEAST_TRAILING_STEPS, Nature, Series, deviations
from millstream.demo.workload import BAD_VERSION, INCIDENT_BEGINS, INCIDENT_TENANT, INCIDENT_TYPE
from millstream.schemas.models import new_id

STEP = timedelta(seconds=1)


def note_changes(client: Client, start: datetime, seconds: float) -> None:
    """Write into `changes` what is behind the incident: the release that half of the workers run since `start`, and the
    template that the tenant switches to later in a run of `seconds`."""
    switched = start + timedelta(seconds=INCIDENT_BEGINS * seconds)
    columns = ["change_id", "occurred_at", "kind", "service", "version", "author", "summary", "labels"]
    rows = [
        [new_id(), start, "deploy", "workers", BAD_VERSION, "ci", f"release {BAD_VERSION} on half of the workers", {}],
        [
            new_id(), switched, "config", "reports", "", INCIDENT_TENANT, f"{INCIDENT_TENANT} uses invoice.html",
            {"tenant": INCIDENT_TENANT, "job_type": INCIDENT_TYPE},
        ],
    ]  # fmt: skip
    client.insert("changes", rows, column_names=columns)


def rise_of_failures(client: Client, start: datetime, end: datetime, seconds: float) -> Window | None:
    """When the share of failures rose, found in steps of a second by what came before; None when it did not.

    A run too short for that many steps is judged from the moment of the recorded change on.
    """
    if INCIDENT_BEGINS * seconds < LEAST_TRAILING_STEPS:
        return Window(start + timedelta(seconds=INCIDENT_BEGINS * seconds), end)
    rows = ask(client, CourseStep, "rca_course", window(start, end) | {"step_seconds": ("UInt32", "1")})
    first = rows[0].step
    failed, attempts = np.zeros((2, (rows[-1].step - first) // STEP + 1))
    for row in rows:
        at = (row.step - first) // STEP
        failed[at], attempts[at] = row.failed, row.attempts
    found = deviations(Series(first, STEP, Nature.SHARE, failed, attempts), first)
    return Window(found[-1].start, found[-1].end or end) if found else None
