"""Do the tables that ClickHouse fills by itself say the same as the raw events?

Each file in `agreement/` asks one question twice: of a rollup and of the raw table. ClickHouse compares the answers by
the number of rows and the sum of their hashes, so millions of rows never leave it.
"""

import re
from importlib import resources

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import sql_file

FOLDER = resources.files(__package__)


def rollup_names() -> list[str]:
    """The tables that can be compared with the raw events."""
    return sorted(file.name.removesuffix(".sql") for file in FOLDER.iterdir() if file.name.endswith(".sql"))


def disagreements(client: Client) -> list[str]:
    """A sentence on each rollup that says something else than the raw events; empty when all agree."""
    problems = []
    for name in rollup_names():
        rollup, raw = _questions(name)
        ours, theirs = _fingerprint(client, rollup), _fingerprint(client, raw)
        if ours != theirs:
            only = f"{_only(client, rollup, raw)} and {_only(client, raw, rollup)}"
            problems.append(f"{name}: {ours[0]} rows, from raw {theirs[0]}: {only}")
    return problems


def _questions(name: str) -> tuple[str, str]:
    text = re.sub(r"^--.*\n", "", sql_file(f"warehouse/reconciliation/{name}"), flags=re.MULTILINE)
    rollup, raw = (part.strip() for part in text.rstrip().removesuffix(";").split(";"))
    return rollup, raw


def _fingerprint(client: Client, question: str) -> tuple[int, int]:
    rows, fingerprint = client.query(
        f"SELECT count(), sum(cityHash64(formatRow('TSV', *))) FROM ({question})"
    ).result_rows[0]
    return int(rows), int(fingerprint)


def _only(client: Client, one: str, other: str) -> list[str]:
    """Up to three rows of the answer to `one` that the answer to `other` does not have."""
    return [
        str(row[0]).rstrip()
        for row in client.query(
            "SELECT line FROM ("
            f"SELECT formatRow('TSV', *) AS line FROM ({one}) EXCEPT SELECT formatRow('TSV', *) AS line FROM ({other})"
            ") LIMIT 3"
        ).result_rows
    ]
