"""A price book for tests."""

from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from millstream.analytics.cost.price_files import Price


def set_prices(client: Client, prices: Sequence[Price]) -> None:
    """Let the book hold these prices and no other. `load` would refuse them where unknown machines have none."""
    client.command("TRUNCATE TABLE price_book")
    names = list(Price.model_fields)
    client.insert("price_book", [[getattr(price, name) for name in names] for price in prices], names)
