"""Records the changes behind the planted incident, as an operator would."""

from datetime import datetime

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import insert
from millstream.demo.workload import BAD_VERSION, INCIDENT_TENANT, INCIDENT_TYPE
from millstream.schemas.ids import new_id


def record_changes(client: Client, start: datetime, switched: datetime) -> None:
    """Write into `changes` the release that half of the workers run since `start`, and the template that the tenant
    uses since `switched`."""
    columns = ["change_id", "occurred_at", "kind", "service", "version", "author", "summary", "labels"]
    rows = [
        [new_id(), start, "deploy", "workers", BAD_VERSION, "ci", f"release {BAD_VERSION} on half of the workers", {}],
        [
            new_id(), switched, "config", "reports", "", INCIDENT_TENANT, f"{INCIDENT_TENANT} uses invoice.html",
            {"tenant": INCIDENT_TENANT, "job_type": INCIDENT_TYPE},
        ],
    ]  # fmt: skip
    insert(client, "changes", rows, columns)
