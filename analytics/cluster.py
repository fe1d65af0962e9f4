"""The statements of a single server, rewritten for a cluster of shards and replicas. Pure: text in, texts out.

Each table becomes two: `<table>_local`, replicated within its shard, and `<table>`, a Distributed table over all shards
that readers and the sink use under the same name as ever. Materialised views fill local tables from local tables. Rows
are spread by the id of their job (worker, alert...), so all that is known of a job is on one shard and is folded there.

An insert through the landing table is split by the same rule each time and keeps its deduplication token on every
shard, so a repeat is dropped shard by shard. The macros {shard} and {replica} and Keeper are the cluster's own matter.
"""

import re
from collections.abc import Collection

LOCAL = "_local"
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)(?: AS (\w+))?")
_ENGINE = re.compile(r"ENGINE = (\w*MergeTree)")
_MATERIALIZED = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+)")
_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS")
_RENAME = re.compile(r"RENAME TABLE IF EXISTS \w+_from_\w+ TO \w+$")
_ALTER = re.compile(r"ALTER TABLE (\w+)")
_COMMENT = re.compile(r"--[^\n]*\n?")


class NotForClusters(ValueError):
    """A statement of a kind that is not known here."""


def tables_of(script: str) -> list[str]:
    """Names of the tables that a migration creates."""
    return [match[1] for match in _TABLE.finditer(script)]


def clustered(statement: str, cluster: str, tables: Collection[str]) -> list[str]:
    """What to run on one node of `cluster` instead of `statement`; `tables` are the names of all tables.

    Raises `NotForClusters`.
    """
    text = _COMMENT.sub("", statement).strip().rstrip(";")
    on = f"ON CLUSTER `{cluster}`"
    if found := _TABLE.match(text):
        return [_local_table(text, found, on), distributed(found[1], cluster, text)]
    if found := _MATERIALIZED.match(text):
        return [f"CREATE MATERIALIZED VIEW IF NOT EXISTS {found[1]} {on}{_of_locals(text[found.end() :], tables)}"]
    if found := _VIEW.match(text):
        return [f"CREATE OR REPLACE VIEW {found[1]} {on} AS{text[found.end() :]}"]
    if found := _ALTER.match(text):
        name = found[1] + LOCAL if found[1] in tables else found[1]
        return [f"ALTER TABLE {name} {on}{_of_locals(text[found.end() :], tables)}"]
    if _RENAME.match(text):
        return [f"{text} {on}"]
    if text.startswith("INSERT INTO "):
        return [text]
    raise NotForClusters(f"no rule for a statement that begins with {text[:60]!r}")


def distributed(table: str, cluster: str, definition: str) -> str:
    """Creates the table over all shards, or makes it follow its local tables.

    The first column in `definition`, its CREATE TABLE, says what a row is about and so decides on its shard; rollups,
    which begin with the minute, are filled where they are.
    """
    first = re.search(r"\(\s*(\w+)", _COMMENT.sub("", definition))
    key = f"cityHash64({first[1]})" if first and first[1] != "minute" else "rand()"
    return (
        f"CREATE OR REPLACE TABLE {table} ON CLUSTER `{cluster}` AS {table}{LOCAL}\n"
        f"ENGINE = Distributed(`{cluster}`, currentDatabase(), {table}{LOCAL}, {key})"
    )


def _local_table(text: str, found: re.Match[str], on: str) -> str:
    like = f" AS {found[2]}{LOCAL}" if found[2] else ""
    rest = _ENGINE.sub(r"ENGINE = Replicated\1", text[found.end() :])
    rest = rest.replace("non_replicated_deduplication_window", "replicated_deduplication_window")
    return f"CREATE TABLE IF NOT EXISTS {found[1]}{LOCAL} {on}{like}{rest}"


def _of_locals(text: str, tables: Collection[str]) -> str:
    names = "|".join(sorted(map(re.escape, tables), key=len, reverse=True))
    return re.sub(rf"\b({names})\b", rf"\1{LOCAL}", text)
