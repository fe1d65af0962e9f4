"""Budget alerts: which tenants have spent so much of their month's budget that someone should know."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from millstream.schemas import Alert
from millstream.schemas.alert import AlertKind, Severity


def budget_alerts(client: Client, at: datetime) -> list[Alert]:
    """Alerts for the calendar month of `at` that have not been told yet; telling them is the caller's.

    A tenant is told of once when it reaches its alert share, and once more, as critical, when it has spent everything.
    What was told is looked up in the table `alerts`: two checks within the seconds that the sink takes may both tell.
    """
    moment = at.astimezone(UTC)
    found = []
    for tenant, currency, budget, spent, share, forecast, status in _budgets(
        client, moment, "tenant, currency, budget, spent, spent_share, forecast, status"
    ):
        if status not in ("over", "warning"):
            continue
        fingerprint = f"budget:{tenant}:{currency}:{moment:%Y-%m}"
        severity = Severity.CRITICAL if status == "over" else Severity.WARNING
        opened_at, told = _told(client, fingerprint)
        if severity in told or Severity.CRITICAL in told:
            continue
        summary = (
            f"{tenant} has spent {spent:.2f} of {budget:.2f} {currency} ({share:.0%}); "
            f"the month will end at {forecast:.2f}"
        )
        found.append(
            Alert(
                fingerprint=fingerprint,
                kind=AlertKind.BUDGET,
                severity=severity,
                opened_at=opened_at or moment,
                subject=tenant,
                summary=summary,
                labels={"tenant": tenant, "currency": currency},
            )
        )
    return found


def budget_gaps(client: Client, at: datetime) -> list[str]:
    """What the budgets of the calendar month of `at` cannot see: a line for each tenant and reason."""
    found = []
    for tenant, currency, status, hours in sorted(
        map(tuple, _budgets(client, at, "tenant, currency, status, unpriced_hours"))
    ):
        if status == "other currency":
            found.append(f"{tenant}: the budget is in {currency} and the prices are not: load it again")
        if hours > 0:
            found.append(f"{tenant}: {hours:.2f} vCPU hours of this month have no price and are not in what was spent")
    return found


def _budgets(client: Client, at: datetime, columns: str) -> Sequence[Sequence[Any]]:
    """What the month of `at` says of each budget, the most spent first."""
    return client.query(
        f"SELECT {columns} FROM budget_status(at = {{at:DateTime64(6, 'UTC')}})",
        parameters={"at": f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"},
    ).result_rows


def _told(client: Client, fingerprint: str) -> tuple[datetime | None, set[str]]:
    opened, severities = client.query(
        "SELECT minOrNull(opened_at), groupUniqArray(toString(severity)) FROM alerts "
        "WHERE fingerprint = {fingerprint:String}",
        parameters={"fingerprint": fingerprint},
        query_tz="UTC",
        tz_mode="aware",
    ).result_rows[0]
    return opened, set(severities)
