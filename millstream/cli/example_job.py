"""A job that the handlers of some modules accept: `python -m millstream.cli.example_job MODULE...`

`millstream up` runs it before it starts anything, to reject modules that no worker could run, and to suggest a first
job. It is a process of its own, so that what the modules import stays out of `up`.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from millstream.cli.failure import Failure
from millstream.cli.handlers import load_handlers
from millstream.consumers.worker import JobTypes
from millstream.consumers.worker.execution.registry import JobType

WRONG_INPUT = 2
DEPTH = 6
"""How deep the example of a model goes; a model that contains itself has no end."""


def example_job(types: JobTypes) -> tuple[str, Any]:
    """The job type that needs least, and a payload that its handler accepts; None for the payload when none was found.

    The name of a type decides between payloads of the same length.
    """
    found = [(each.name, payload) for each in types if (payload := _example_payload(each)) is not ...]
    if not found:
        return min(each.name for each in types), None
    return min(found, key=lambda each: (each[1] is None, len(json.dumps(each[1])), each[0]))


def _example_payload(job_type: JobType) -> Any:
    """A payload made from the JSON schema of the handler's model; `...` when the model rejects it."""
    if not job_type.takes_payload or job_type.payload is None:
        return None
    try:
        schema = job_type.payload.json_schema()
        payload = _example(schema, schema.get("$defs", {}), DEPTH)
        job_type.payload.validate_json(json.dumps(payload))
    except (ValidationError, ValueError, TypeError):
        return ...
    return payload


def _example(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> Any:
    """A value that a JSON schema describes, as far as its usual words go."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    given = [schema[word][0] for word in ("examples", "enum") if schema.get(word)]
    given += [schema[word] for word in ("const", "default") if word in schema]
    if given:
        return given[0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return _example(schema[word][0], definitions, depth)
    makers: dict[str, Callable[[], Any]] = {
        "object": lambda: _object(schema, definitions, depth),
        "array": lambda: [
            _example(schema.get("items", {}), definitions, depth - 1)
            for _ in range(schema.get("minItems", 0) if depth else 0)
        ],
        "integer": lambda: _number(schema),
        "number": lambda: float(_number(schema)),
        "boolean": lambda: False,
        "string": lambda: _text(schema),
    }
    return makers.get(schema.get("type", ""), lambda: None)()


def _object(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> dict[str, Any]:
    """The required properties, or the first one when none is required, to show how it is called."""
    properties = schema.get("properties", {})
    wanted = (schema.get("required") or list(properties)[:1]) if depth else []
    return {name: _example(properties[name], definitions, depth - 1) for name in wanted if name in properties}


def _number(schema: dict[str, Any]) -> int:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    most = schema.get("maximum", schema.get("exclusiveMaximum", 2**31) - 1)
    return int(min(max(1, least), most))


def _text(schema: dict[str, Any]) -> str:
    known = {
        "date-time": "2026-01-01T00:00:00Z",
        "date": "2026-01-01",
        "time": "00:00:00Z",
        "uuid": "01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0",
        "uri": "https://example.com/",
        "email": "somebody@example.com",
        "duration": "PT1S",
    }
    text = known.get(schema.get("format", ""), "example")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", len(text) + 10_000)]


def main(modules: list[str]) -> int:
    """Print the example as JSON; the error as text on stderr, with exit code 2."""
    try:
        job_type, payload = example_job(load_handlers(modules))
    except Failure as failure:
        print(json.dumps({"error": str(failure), "hint": failure.hint}), flush=True)
        return failure.code
    print(json.dumps({"job_type": job_type, "payload": payload}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
