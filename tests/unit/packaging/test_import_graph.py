"""Imports run one way: no group of modules imports each other in a circle, and public class names are distinct."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

PACKAGES = ("schemas", "producers", "consumers", "streams", "analytics")
"""Folders that are packages below `millstream`, through symbolic links."""


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its import name."""
    found = {}
    for folder, prefix in [(ROOT / "millstream", "millstream"), *((ROOT / p, f"millstream.{p}") for p in PACKAGES)]:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if prefix == "millstream" and parts[0] in PACKAGES:
                continue
            found[".".join((prefix, *parts)).removesuffix(".__init__")] = path
    return found


def benches() -> dict[str, Path]:
    """Every file of `bench/`; `peers/` holds programs of other systems."""
    return {str(path.relative_to(ROOT)): path for path in (ROOT / "bench").glob("*.py")}


def imported_by(path: Path) -> set[str]:
    """The modules of ours that the file imports anywhere in it, also below `if TYPE_CHECKING` and inside functions."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
    return found & known.keys()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = lowest[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], index[other])
        if lowest[module] == index[module]:
            component = stack[stack.index(module) :]
            del stack[-len(component) :]
            if len(component) > 1:
                found.append(sorted(component))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imported_by(path) - {name} for name, path in modules().items()}
    assert len(graph) > 100
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_two_public_classes_have_one_name() -> None:
    homes = defaultdict(list)
    for name, path in [*modules().items(), *benches().items()]:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
