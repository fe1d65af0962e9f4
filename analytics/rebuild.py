"""Empties a table and everything that ClickHouse makes of it, so that the sink can fill them anew from Kafka."""

from importlib import resources

from clickhouse_connect.driver.client import Client


def tables_behind(client: Client, table: str) -> list[str]:
    """`table` and all tables that materialised views fill from it, directly or by way of others."""
    query = (resources.files(__package__) / "filled_tables.sql").read_text("utf-8")
    filled = client.query(query).result_rows
    found = [table]
    for source in found:
        found += [target for reading, target in filled if reading == source and target not in found]
    return found


def empty(client: Client, tables: list[str]) -> None:
    """Remove all rows, and with them the memory of which inserts these came from. May be repeated."""
    for table in tables:
        client.command(f"TRUNCATE TABLE {table}")
