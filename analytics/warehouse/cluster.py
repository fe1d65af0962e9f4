"""The statements of a single server, rewritten for a cluster of shards and replicas. Pure: text in, texts out.

Each table becomes two: `<table>_local`, replicated within its shard, and `<table>`, a Distributed table over all shards
under the name that readers and the sink use. Materialised views fill local tables from local tables. Rows are sharded
by the id of their job (worker, alert...), so all rows of a job are on one shard and are aggregated there.

An insert through the landing table is split by the same rule each time and keeps its deduplication token on every
shard, so a repeated insert is dropped on each shard. The cluster must define the macros {shard} and {replica} and have
Keeper.
"""

import re
from collections.abc import Iterable, Mapping

LOCAL = "_local"
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)(?: AS (\w+))?")
_ENGINE = re.compile(r"ENGINE = (\w*MergeTree)")
_MATERIALIZED = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+)")
_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS")
_DROP_VIEW = re.compile(r"DROP VIEW IF EXISTS \w+$")
_RENAME = re.compile(r"RENAME TABLE IF EXISTS \w+_from_\w+ TO \w+$")
_ALTER = re.compile(r"ALTER TABLE (\w+)")
_COMMENT = re.compile(r"--[^\n]*\n?")


class NotForClusters(ValueError):
    """There is no rule for a statement of this kind."""


def definitions(statements: Iterable[str]) -> dict[str, str]:
    """The tables that these statements create, each with the CREATE TABLE that lists its columns: its own, or that of
    the table it copies with AS."""
    tables: dict[str, str] = {}
    for statement in statements:
        text = _bare(statement)
        if found := _TABLE.match(text):
            tables[found[1]] = tables[found[2]] if found[2] else text
    return tables


def clustered(statement: str, cluster: str, tables: Mapping[str, str]) -> list[str]:
    """What to run on one node of `cluster` instead of `statement`; `tables` are the `definitions` of all tables.

    Raises `NotForClusters`.
    """
    text = _bare(statement)
    on = f"ON CLUSTER `{cluster}`"
    if found := _TABLE.match(text):
        return [_local_table(text, found, on), distributed(found[1], cluster, tables[found[1]])]
    if found := _MATERIALIZED.match(text):
        return [f"CREATE MATERIALIZED VIEW IF NOT EXISTS {found[1]} {on}{_of_locals(text[found.end() :], tables)}"]
    if found := _VIEW.match(text):
        return [f"CREATE OR REPLACE VIEW {found[1]} {on} AS{text[found.end() :]}"]
    if found := _ALTER.match(text):
        change = f"{on}{_replicated_window(_of_locals(text[found.end() :], tables))}"
        if found[1] not in tables:
            return [f"ALTER TABLE {found[1]} {change}"]
        # The next statements may read the columns that this one adds.
        return [f"ALTER TABLE {found[1]}{LOCAL} {change}", distributed(found[1], cluster, tables[found[1]])]
    if _RENAME.match(text) or _DROP_VIEW.match(text):
        return [f"{text} {on}"]
    if text.startswith("INSERT INTO "):
        return [_insert(text, tables)]
    raise NotForClusters(f"no rule for a statement that begins with {text[:60]!r}")


def distributed(table: str, cluster: str, definition: str) -> str:
    """The statement that creates the table over all shards, or recreates it with the columns of its local tables.

    The first column in `definition`, its CREATE TABLE, is the sharding key; rollups, which begin with the minute, are
    filled on the shard of their source.
    """
    first = re.search(r"\(\s*(\w+)", definition)
    key = f"cityHash64({first[1]})" if first and first[1] != "minute" else "rand()"
    return (
        f"CREATE OR REPLACE TABLE {table} ON CLUSTER `{cluster}` AS {table}{LOCAL}\n"
        f"ENGINE = Distributed(`{cluster}`, currentDatabase(), {table}{LOCAL}, {key})"
    )


def _local_table(text: str, found: re.Match[str], on: str) -> str:
    like = f" AS {found[2]}{LOCAL}" if found[2] else ""
    rest = _ENGINE.sub(r"ENGINE = Replicated\1", text[found.end() :])
    rest = _replicated_window(rest)
    return f"CREATE TABLE IF NOT EXISTS {found[1]}{LOCAL} {on}{like}{rest}"


def _replicated_window(text: str) -> str:
    return text.replace("non_replicated_deduplication_window", "replicated_deduplication_window")


def _insert(text: str, tables: Iterable[str]) -> str:
    """An INSERT SELECT runs on each shard, so that a repeat finds the same rows under the same token there. The shard
    reads its local table, so the table of the statement becomes an alias of it."""
    copied = re.sub(rf"\bFROM ({_any_of(tables)})\b", r"FROM \1 AS \1", text)
    if copied == text:
        return text
    return copied.replace("SETTINGS ", "SETTINGS parallel_distributed_insert_select = 2, ")


def _of_locals(text: str, tables: Iterable[str]) -> str:
    """Replace tables by local tables, only where a table must follow: a column may have the name of a table."""
    names = _any_of(tables)
    return re.sub(rf"\b((?:FROM|JOIN|TO)\s+(?:{names})|(?:{names})(?=\.))\b", rf"\1{LOCAL}", text)


def _any_of(tables: Iterable[str]) -> str:
    return "|".join(map(re.escape, tables))


def _bare(statement: str) -> str:
    return _COMMENT.sub("", statement).strip().rstrip(";")
