"""Modules say what they are for, and no class of the consumers does too much."""

import ast
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

FOLDERS = ("analytics", "bench", "consumers", "millstream", "producers", "schemas", "streams", "tests")
MOST_LINES = 250
"""Of a class in `consumers/`: a longer one is several that share their attributes."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its path."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.is_relative_to(ROOT / folder)]
    found: dict[Path, str] = {}
    for path in paths:
        found.setdefault(path.resolve(), str(path.relative_to(ROOT)))
    return {name: ast.parse(path.read_text("utf-8")) for path, name in found.items()}


def test_every_module_has_a_docstring() -> None:
    assert len(modules()) > 200
    assert [name for name, module in modules().items() if module.body and not ast.get_docstring(module)] == []


def test_no_class_of_the_consumers_is_too_long() -> None:
    lengths = {
        f"{name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, module in modules().items()
        if name.startswith("consumers/")
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    }
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
