"""The price book and the budgets in ClickHouse: what may be loaded, and how a whole table is replaced."""

from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from millstream.analytics.cost.price_files import ALWAYS, BEGINNING, Budget, InvalidFile, Price
from millstream.analytics.sql import insert, rows
from millstream.analytics.warehouse.cluster import LOCAL, distributed


def load(
    client: Client, entries: Sequence[Price] | Sequence[Budget], *, replace: bool = False, cluster: str = ""
) -> None:
    """Write all entries or none; entries with an equal key are replaced, with `replace` all others are removed too.

    `cluster` is the one that `migrate` was given.

    Raises `InvalidFile` when the prices would not be in one currency or leave a time without a price of `default`, and
    when budgets are in another currency than the prices.
    """
    prices = [row for row in entries if isinstance(row, Price)]
    problems = _problems_of_book(client, prices, replace) if prices else _problems_of_budgets(client, entries)
    if problems:
        raise InvalidFile("\n".join(problems))
    table = "price_book" if prices else "budgets"
    names = list(type(entries[0]).model_fields)
    values = [[getattr(row, name) for name in names] for row in entries]
    if not replace:
        insert(client, table, values, names)
        return
    before, after = replacement(table, names[0], cluster)
    for statement in before:
        client.command(statement)
    # Every shard must have its rows before the tables are exchanged; a single server ignores the setting.
    insert(client, f"{table}_next", values, names, {"distributed_foreground_insert": 1})
    for statement in after:
        client.command(statement)


def replacement(table: str, key: str, cluster: str = "") -> tuple[list[str], list[str]]:
    """Statements that make `<table>_next`, empty and like `table`, and those that exchange the two.

    `table` is unchanged until they are exchanged. `key` is its first column, the sharding key. In a cluster the local
    tables are exchanged, node by node; a node that is down exchanges them when it starts again.
    """
    new = f"{table}_next"
    if not cluster:
        drop = f"DROP TABLE IF EXISTS {new} SYNC"
        return [drop, f"CREATE TABLE {new} AS {table}"], [f"EXCHANGE TABLES {new} AND {table}", drop]
    on = f"ON CLUSTER `{cluster}`"
    dropped = [f"DROP TABLE IF EXISTS {name} {on} SYNC" for name in (new, new + LOCAL)]
    created = [
        f"CREATE TABLE {new}{LOCAL} {on} AS {table}{LOCAL}",
        distributed(new, cluster, f"({key})"),
    ]
    return [*dropped, *created], [f"EXCHANGE TABLES {new}{LOCAL} AND {table}{LOCAL} {on}", *dropped]


def _problems_of_book(client: Client, prices: Sequence[Price], replace: bool) -> list[str]:
    """Problems that the price book would have with these prices."""
    known = [] if replace else _priced(client)
    keys = {price.key for price in prices}
    book = [*prices, *(price for price in known if price.key not in keys)]
    problems = []
    if len(currencies := sorted({price.currency for price in book})) > 1:
        problems.append(
            f"with these prices the book would be in several currencies ({', '.join(currencies)}), which cannot be "
            "added up; --replace loads a book in another currency"
        )
    covered = BEGINNING
    defaults = [price for price in book if price.key[:3] == ("default", "", "on_demand")]
    for price in sorted(defaults, key=lambda price: price.effective_from):
        if price.effective_from > covered:
            break
        covered = max(covered, price.effective_to)
    if covered < ALWAYS:
        problems.append(
            "with these prices the book would have no price of the instance type 'default' (any region, on_demand) "
            f"from {covered:%Y-%m-%d %H:%M} on, so that unknown machines would cost nothing"
        )
    return problems


def _problems_of_budgets(client: Client, entries: Sequence[Price] | Sequence[Budget]) -> list[str]:
    currencies = {price.currency for price in _priced(client)}
    return [
        f"the budget of {row.tenant} is in {row.currency}, but the prices are in {', '.join(sorted(currencies))}"
        for row in entries
        if isinstance(row, Budget) and currencies and row.currency not in currencies
    ]


def _priced(client: Client) -> list[Price]:
    names = list(Price.model_fields)
    found = rows(client, f"SELECT {', '.join(names)} FROM price_book FINAL")
    return [Price.model_construct(None, **dict(zip(names, row, strict=True))) for row in found]
