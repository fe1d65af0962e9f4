"""The ClickHouse client that the settings describe."""

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
    )
