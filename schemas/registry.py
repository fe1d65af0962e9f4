"""Schema ids: which Avro schema a record's four-byte id stands for.

`PinnedRegistry` is the default: ids are the file names below `avro/pinned/`, so producers and consumers agree without
a service. `ConfluentRegistry` asks a Schema Registry instead. A released schema is never edited: a change adds the next
id, and `compatibility.py` checks it against every older one.
"""

import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Protocol

from millstream.extras import importing

Schema = dict[str, Any]

_NOT_FOUND_STATUSES = (400, 404, 422)
"""HTTP statuses of a healthy registry that does not have the id, or does not accept it as one."""

FOLLOWS_WITHIN_S = 60.0
"""How long the registry may not have an id that a record names: its followers learn of a new schema a moment later."""

_MOST_MISSING = 1_000
"""Ids that are remembered as missing."""

NEWER_IDS = 1_000
"""How many ids above the newest known one may be a newer release's; what is above them is garbage."""

ANNOUNCEMENT_KEY = b"newest_schema:"
"""What the key of a record on `jobs.commands` begins with that announces the newest schema of a release; its id
follows."""


class UnknownSchema(LookupError):
    """No schema is known under this id or record name."""


class NewerSchema(UnknownSchema):
    """The id is above all that this release knows: a newer release wrote the record, and can read it."""


class UnannouncedSchema(UnknownSchema):
    """The id is above all that this release knows, and no release has announced it so far."""


class RegistryUnavailable(RuntimeError):
    """The Schema Registry could not be asked for an id: it is unreachable, unhealthy, or rejects the client. Try again
    later."""


class Registry(Protocol):
    """Turns record names into schema ids and back. Both calls are cheap after the first."""

    def id_of(self, record: str) -> int:
        """The id under which the current schema of `record` (such as "JobEvent") is written. Raises `UnknownSchema` and
        `RegistryUnavailable`."""

    def schema_of(self, schema_id: int) -> Schema:
        """The schema a record with this id was written with. Raises `UnknownSchema`, or `NewerSchema`, and
        `RegistryUnavailable`."""


class PinnedRegistry:
    """Ids pinned in the package.

    `newest_announced` returns the newest id that a release has announced. Without it any id a little above the known
    ones counts as announced. It may raise `RegistryUnavailable`.
    """

    def __init__(self, newest_announced: Callable[[], int] | None = None) -> None:
        self._newest_announced = newest_announced

    def id_of(self, record: str) -> int:
        ids = [schema_id for schema_id, schema in pinned_schemas().items() if schema["name"] == record]
        if not ids:
            raise UnknownSchema(f"no pinned schema for record {record!r}")
        return max(ids)

    def schema_of(self, schema_id: int) -> Schema:
        try:
            return pinned_schemas()[schema_id]
        except KeyError:
            raise self._unknown(schema_id) from None

    def _unknown(self, schema_id: int) -> UnknownSchema:
        problem = f"schema id {schema_id} is not one of the pinned ones"
        if not 0 < schema_id - max(pinned_schemas()) <= NEWER_IDS:
            return UnknownSchema(problem)
        if self._newest_announced is None or schema_id <= self._newest_announced():
            return NewerSchema(f"{problem}: a newer release wrote the record")
        return UnannouncedSchema(f"{problem}, and no release has announced it (millstream topics apply)")


class ConfluentRegistry:
    """Ids from a Confluent-compatible Schema Registry; subjects are the full record names.

    Needs the extra `millstream[schema-registry]`. Registers the current schemas at first use, so that the registry's
    own compatibility rule applies.
    """

    def __init__(self, options: Mapping[str, Any], follows_within_s: float = FOLLOWS_WITHIN_S) -> None:
        """`options` go to `confluent_kafka.schema_registry.SchemaRegistryClient` (`url`, credentials, TLS). An id that
        the registry does not have counts as unavailable for `follows_within_s` seconds, and as unknown then."""
        with importing("schema-registry"):
            from confluent_kafka.schema_registry import SchemaRegistryClient

        self._client = SchemaRegistryClient(dict(options))
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, Schema] = {}
        self._follows_within_s = follows_within_s
        # Ids that the registry did not have, and when it was first asked for them.
        self._missing: dict[int, float] = {}

    def id_of(self, record: str) -> int:
        if record not in self._ids:
            from confluent_kafka.schema_registry import Schema as RegisteredSchema

            schema = RegisteredSchema(json.dumps(current_schema(record)), "AVRO")
            try:
                self._ids[record] = self._client.register_schema(f"millstream.{record}", schema)
            except Exception as error:
                # The client's HTTP transport raises exceptions of its own.
                raise RegistryUnavailable(f"Schema Registry, asked for the id of {record}: {error}") from error
        return self._ids[record]

    def schema_of(self, schema_id: int) -> Schema:
        if schema_id not in self._schemas:
            from confluent_kafka.schema_registry.error import SchemaRegistryError

            try:
                text = self._client.get_schema(schema_id).schema_str
            except Exception as error:
                # The client's HTTP transport raises exceptions of its own.
                if (
                    isinstance(error, SchemaRegistryError)
                    and error.http_status_code in _NOT_FOUND_STATUSES
                    and self._is_missing_for_good(schema_id, time.monotonic())
                ):
                    raise UnknownSchema(f"schema id {schema_id}: {error}") from error
                raise RegistryUnavailable(f"Schema Registry, asked for schema id {schema_id}: {error}") from error
            self._schemas[schema_id] = _avro_record(schema_id, text or "")
        return self._schemas[schema_id]

    def _is_missing_for_good(self, schema_id: int, now: float) -> bool:
        if len(self._missing) > _MOST_MISSING:
            self._missing.clear()
        return now - self._missing.setdefault(schema_id, now) >= self._follows_within_s


def _avro_record(schema_id: int, text: str) -> Schema:
    try:
        schema = json.loads(text)
    except ValueError:
        schema = None
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnknownSchema(f"schema id {schema_id} is not an Avro record")
    return schema


@cache
def current_schema(record: str) -> Schema:
    """The newest schema of a record, from `avro/<record>.avsc`. Raises `UnknownSchema`."""
    file = resources.files(__package__) / "avro" / f"{record}.avsc"
    if not file.is_file():
        raise UnknownSchema(f"no schema for record {record!r}")
    schema: Schema = json.loads(file.read_text("utf-8"))
    return schema


@cache
def pinned_schemas() -> Mapping[int, Schema]:
    """Every schema ever released, by id, from `avro/pinned/<id>-<record>.avsc`."""
    folder = resources.files(__package__) / "avro" / "pinned"
    found = {int(file.name.split("-")[0]): json.loads(file.read_text("utf-8")) for file in folder.iterdir()}
    return MappingProxyType(dict(sorted(found.items())))
