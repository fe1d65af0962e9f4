"""A released schema can be read by every other release of it, forwards and backwards."""

import copy
from typing import Any

import pytest

from millstream.schemas.compatibility import incompatibilities, unreadable
from millstream.schemas.registry import current_schema


def test_every_released_schema_reads_every_other() -> None:
    assert incompatibilities() == []


def changed(change: str) -> dict[str, Any]:
    schema = copy.deepcopy(current_schema("JobEvent"))
    fields = {field["name"]: field for field in schema["fields"]}
    match change:
        case "a field with a default is added":
            schema["fields"].append({"name": "new", "type": "string", "default": ""})
        case "a field without a default is added":
            schema["fields"].append({"name": "new", "type": "string"})
        case "a field with a default is removed":
            schema["fields"].remove(fields["message"])
        case "a field without a default is removed":
            schema["fields"].remove(fields["tenant"])
        case "a symbol is added to an enum that has a default":
            fields["kind"]["type"]["symbols"].append("parked")
        case "a type is changed":
            fields["attempt"]["type"] = "string"
        case "null is no longer allowed":
            fields["run_ms"]["type"] = "double"
    return schema


@pytest.mark.parametrize(
    ("change", "backward", "forward"),
    [
        ("a field with a default is added", True, True),
        ("a field without a default is added", False, True),
        ("a field with a default is removed", True, True),
        ("a field without a default is removed", True, False),
        ("a symbol is added to an enum that has a default", True, True),
        ("a type is changed", False, False),
        ("null is no longer allowed", False, True),
    ],
)
def test_the_check_finds_what_breaks_readers(change: str, backward: bool, forward: bool) -> None:
    old, new = current_schema("JobEvent"), changed(change)
    assert (unreadable(new, old) == []) == backward
    assert (unreadable(old, new) == []) == forward
