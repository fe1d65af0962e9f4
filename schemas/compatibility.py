"""Full, transitive compatibility of the released schemas.

A new schema must read what every older one wrote, and every older one must read what the new one writes. The check
walks the two schemas by the Avro specification's resolution rules for the types that we use.
"""

from typing import Any

from millstream.schemas.registry import Schema, current_schema, pinned_schemas


def incompatibilities() -> list[str]:
    """The incompatibilities among the released schemas and the current ones, one line each."""
    problems = []
    by_record: dict[str, list[tuple[int, Schema]]] = {}
    for schema_id, schema in pinned_schemas().items():
        by_record.setdefault(schema["name"], []).append((schema_id, schema))
    for record, versions in by_record.items():
        newest_id, newest = versions[-1]
        if newest != current_schema(record):
            problems.append(
                f"{record}.avsc differs from its newest pinned schema {newest_id}: pin the change as a new id"
            )
        for index, (new_id, new) in enumerate(versions):
            for old_id, old in versions[:index]:
                problems += [f"{record}: {new_id} cannot read {old_id}: {reason}" for reason in unreadable(new, old)]
                problems += [f"{record}: {old_id} cannot read {new_id}: {reason}" for reason in unreadable(old, new)]
    return problems


def unreadable(reader: Any, writer: Any, path: str = "") -> list[str]:
    """Why a reader's schema cannot read what a writer's schema wrote, a line for each place."""
    reader_kind, writer_kind = _kind(reader), _kind(writer)
    if writer_kind == "union":
        return [reason for branch in writer for reason in unreadable(reader, branch, path)]
    if reader_kind == "union":
        tries = [unreadable(branch, writer, path) for branch in reader]
        return [] if any(not reasons for reasons in tries) else [f"{path}: {writer_kind} is in no branch of the union"]
    if writer_kind != reader_kind:
        promotions = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}}
        promotions |= {"string": {"bytes"}, "bytes": {"string"}}
        if reader_kind in promotions.get(writer_kind, set()):
            return []
        return [f"{path}: {writer_kind} became {reader_kind}"]
    if reader_kind == "record":
        return _unreadable_record(reader, writer, path)
    if reader_kind == "enum":
        unknown = set(writer["symbols"]) - set(reader["symbols"])
        return [f"{path}: unknown symbols {sorted(unknown)}"] if unknown and "default" not in reader else []
    if reader_kind == "array":
        return unreadable(reader["items"], writer["items"], f"{path}[]")
    if reader_kind == "map":
        return unreadable(reader["values"], writer["values"], f"{path}{{}}")
    return []


def _unreadable_record(reader: Schema, writer: Schema, path: str) -> list[str]:
    written = {field["name"]: field for field in writer["fields"]}
    problems = []
    for field in reader["fields"]:
        where = f"{path}.{field['name']}" if path else field["name"]
        if field["name"] in written:
            problems += unreadable(field["type"], written[field["name"]]["type"], where)
        elif "default" not in field:
            problems.append(f"{where}: has no default, and the writer does not know it")
    return problems


def _kind(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)
