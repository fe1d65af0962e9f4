"""ClickHouse: the tables, the questions that can be asked of them, and the connection."""

from millstream.analytics.client import ClickHouseUnavailable, Tls, connect
from millstream.analytics.warehouse.migrate import (
    Applied,
    MigrationError,
    migrate,
    pending,
    table_names,
    view_names,
    view_text,
)

__all__ = [
    "Applied",
    "ClickHouseUnavailable",
    "MigrationError",
    "Tls",
    "connect",
    "migrate",
    "pending",
    "table_names",
    "view_names",
    "view_text",
]
