"""A valid record of a schema, as large as wanted. What ClickHouse answers to it shows whether the server is healthy."""

import io
from datetime import UTC, datetime
from typing import Any

import fastavro

NO_UUID = "00000000-0000-0000-0000-000000000000"


def control_body(schema: dict[str, Any], size: int) -> bytes:
    """The Avro body of a record that has the smallest values, its times now, and one long string where the schema has a
    plain string: at least `size` bytes then."""
    values = {field["name"]: _smallest(field["type"]) for field in schema["fields"]}
    text = next((field["name"] for field in schema["fields"] if field["type"] == "string"), None)
    if text is not None:
        values[text] = "x" * size
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), values)
    return out.getvalue()


def _smallest(kind: Any) -> Any:
    if isinstance(kind, list):
        return _smallest(kind[0])
    if isinstance(kind, str):
        return _PRIMITIVES[kind]
    match kind.get("logicalType"):
        case "uuid":
            return NO_UUID
        case "timestamp-micros":
            return datetime.now(UTC)
    match kind["type"]:
        case "record":
            return {field["name"]: _smallest(field["type"]) for field in kind["fields"]}
        case "enum":
            return kind["symbols"][0]
        case "array":
            return []
        case "map":
            return {}
        case "fixed":
            return bytes(kind["size"])
        case other:
            return _smallest(other)


_PRIMITIVES: dict[str, Any] = {
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "bytes": b"",
    "string": "",
}
