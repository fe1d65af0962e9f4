"""ClickHouse: the tables, the questions that can be asked of them, and the connection."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.analytics.client import ClickHouseUnavailable, CredentialsRejected, Tls, connect
    from millstream.analytics.warehouse.migrate import (
        Applied,
        MigrationError,
        migrate,
        pending,
        table_names,
        view_names,
        view_text,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "client": ("ClickHouseUnavailable", "CredentialsRejected", "Tls", "connect"),
            "warehouse.migrate": (
                "Applied",
                "MigrationError",
                "migrate",
                "pending",
                "table_names",
                "view_names",
                "view_text",
            ),
        },
    )

__all__ = [
    "Applied",
    "ClickHouseUnavailable",
    "CredentialsRejected",
    "MigrationError",
    "Tls",
    "connect",
    "migrate",
    "pending",
    "table_names",
    "view_names",
    "view_text",
]
