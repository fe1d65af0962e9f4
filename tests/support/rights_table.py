"""The table of docs/security.md, as a test gives its rights."""

import re
from collections.abc import Iterator

from millstream.rights.table import Names, Row
from tests.support.paths import ROOT
from tests.support.secured_broker import Right

PAGE = ROOT / "docs" / "security.md"


def documented_table() -> str:
    """The lines of the table."""
    lines = PAGE.read_text("utf-8").splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith("| who |"))
    end = next(number for number, line in enumerate(lines) if number > start and not line.startswith("|"))
    return "".join(lines[start:end])


def documented_rights(role: str, names: Names) -> list[Right]:
    """The rights that the page gives a role, in the order of the page."""
    return list(dict.fromkeys(_rights(role, names)))


def as_given(row: Row, name: str, operation: str) -> Right:
    """A right of the table, as the test broker is told of it."""
    return row.kind, name, row.pattern, snake_case(operation)


def snake_case(operation: str) -> str:
    """The name of an operation as confluent-kafka spells it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()


def _rights(role: str, names: Names) -> Iterator[Right]:
    for line in documented_table().splitlines()[2:]:
        who, kind, name, pattern, operations, _ = (cell.strip() for cell in line.strip("|").split("|"))
        if who == role:
            for operation in operations.split(", "):
                yield from ((kind, each, pattern, snake_case(operation)) for each in names.of(name.strip("`")))
