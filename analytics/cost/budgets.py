"""Budget alerts: tenants that have spent a given share of their budget of the month."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import MOMENT, moment, read_view, rows, sql_file
from millstream.schemas import Alert
from millstream.schemas.alert import AlertKind, Severity


def budget_alerts(client: Client, at: datetime) -> list[Alert]:
    """Alerts for the calendar month of `at` that are not recorded yet; the caller sends them.

    A tenant gets one alert when it reaches its alert share, and a second, critical one when the whole budget is spent.
    Recorded alerts are those in the table `alerts`: two checks may both return an alert until the sink has inserted it.
    """
    now = at.astimezone(UTC)
    found = []
    for tenant, currency, budget, spent, share, forecast, status in _budgets(
        client, now, ("tenant", "currency", "budget", "spent", "spent_share", "forecast", "status")
    ):
        if status not in ("over", "warning"):
            continue
        fingerprint = f"budget:{tenant}:{currency}:{now:%Y-%m}"
        severity = Severity.CRITICAL if status == "over" else Severity.WARNING
        opened_at, recorded = _recorded(client, fingerprint)
        if severity in recorded or Severity.CRITICAL in recorded:
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
                opened_at=opened_at or now,
                subject=tenant,
                summary=summary,
                labels={"tenant": tenant, "currency": currency},
            )
        )
    return found


def budget_gaps(client: Client, at: datetime) -> list[str]:
    """Costs that the budgets of the calendar month of `at` do not include: a line for each tenant and reason."""
    found = []
    for tenant, currency, status, hours in sorted(
        _budgets(client, at, ("tenant", "currency", "status", "unpriced_hours"))
    ):
        if status == "other currency":
            found.append(f"{tenant}: the budget is in {currency} and the prices are not: load the budget again")
        if hours > 0:
            found.append(f"{tenant}: {hours:.2f} vCPU hours of this month have no price and are not included")
    return found


def _budgets(client: Client, at: datetime, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The budgets in the month of `at`, the most spent first."""
    return read_view(client, columns, "budget_status", {"at": (MOMENT, moment(at))})


def _recorded(client: Client, fingerprint: str) -> tuple[datetime | None, set[str]]:
    opened, severities = rows(client, sql_file("cost/recorded_alerts"), {"fingerprint": fingerprint})[0]
    return opened, set(severities)
