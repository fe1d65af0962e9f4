"""What a query that ClickHouse rejects lacks: the parameters of a view. Pure."""

import re
from collections.abc import Iterable, Iterator

from millstream.analytics.warehouse.catalogue import View


def missing_parameters(query: str, views: Iterable[View]) -> str:
    """A sentence for each view that the query reads without all of its parameters, with the example of the view, which
    has them all. Empty when no view lacks one; ClickHouse itself names one at a time, and none without brackets."""
    return "\n".join(_sentences(query, {view.name: view for view in views if view.parameters}))


def _sentences(query: str, views: dict[str, View]) -> Iterator[str]:
    for found in re.finditer(r"\b(?:FROM|JOIN)\s+(?:\w+\.)?(\w+)\b\s*(\()?", query, re.IGNORECASE):
        view = views.get(found[1])
        if view is None:
            continue
        given = set(re.findall(r"(\w+)\s*=", _in_brackets(query[found.end() :]))) if found[2] else set()
        missing = [name for name in view.parameters if name not in given]
        if missing:
            yield f"{view.name} needs {', '.join(missing)} too; for example: {view.example}"


def _in_brackets(text: str) -> str:
    """The text up to the bracket that closes the one before it."""
    depth = 1
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[:position]
    return text
