"""Do the tables that ClickHouse fills by itself agree with the raw events?

Each SQL file of this folder has two queries, one on a rollup and one on the raw table, which must give the same rows.
ClickHouse compares the number of rows and the sum of their hashes, so millions of rows never leave the server.
"""

import re
from importlib import resources

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import rows, sql_file

FOLDER = resources.files(__package__)


def rollup_names() -> list[str]:
    """The tables that can be compared with the raw events."""
    return sorted(file.name.removesuffix(".sql") for file in FOLDER.iterdir() if file.name.endswith(".sql"))


def disagreements(client: Client) -> list[str]:
    """A sentence on each rollup that differs from the raw events; empty when all agree."""
    problems = []
    for name in rollup_names():
        rollup, raw = queries(name)
        ours, theirs = _fingerprint(client, rollup), _fingerprint(client, raw)
        if ours != theirs:
            only = f"{_only(client, rollup, raw)} and {_only(client, raw, rollup)}"
            problems.append(f"{name}: {ours[0]} rows, from raw {theirs[0]}: {only}")
    return problems


def queries(name: str) -> tuple[str, str]:
    """The query on a rollup, and the query on the raw rows that must give the same. Both begin with `period`."""
    text = re.sub(r"^--.*\n", "", sql_file(f"warehouse/reconciliation/{name}"), flags=re.MULTILINE)
    rollup, raw = (part.strip() for part in text.rstrip().removesuffix(";").split(";"))
    return rollup, raw


def _fingerprint(client: Client, query: str) -> tuple[int, int]:
    count, fingerprint = rows(client, f"SELECT count(), sum(cityHash64(formatRow('TSV', *))) FROM ({query})")[0]
    return int(count), int(fingerprint)


def _only(client: Client, one: str, other: str) -> list[str]:
    """Up to three rows of the query `one` that the query `other` does not give."""
    lines = "SELECT formatRow('TSV', *) AS line FROM"
    found = rows(client, f"SELECT line FROM ({lines} ({one}) EXCEPT {lines} ({other})) LIMIT 3")
    return [str(line).rstrip() for (line,) in found]
