"""The ClickHouse client and the tables, as configured in the settings."""

from clickhouse_connect.driver.client import Client

from millstream import analytics
from millstream.settings import Settings


def connect(settings: Settings) -> Client:
    """A client for the configured server and database. Raises `ClickHouseUnavailable`."""
    clickhouse = settings.clickhouse
    return analytics.connect(
        clickhouse.url,
        user=clickhouse.user,
        password=clickhouse.password.get_secret_value(),
        database=clickhouse.database,
        tls=analytics.Tls(
            clickhouse.ca_file, clickhouse.certificate_file, clickhouse.key_file, verify=clickhouse.verify
        ),
        connect_timeout=clickhouse.connect_timeout_s,
        query_timeout=clickhouse.query_timeout_s,
    )


def migrate(settings: Settings) -> list[analytics.Applied]:
    """Bring the configured database to this release. Raises what `analytics.migrate` raises."""
    clickhouse = settings.clickhouse
    return analytics.migrate(
        connect(settings),
        clickhouse.database,
        raw_days=clickhouse.raw_days,
        rollup_days=clickhouse.rollup_days,
        cluster=clickhouse.cluster,
    )
