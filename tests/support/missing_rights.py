"""The rights of the table as cases of a test, and users that lack one of them."""

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark.structures import ParameterSet

from millstream.rights.table import ROWS, Right, Role, Row, rights
from tests.support.installation import Installation
from tests.support.rights_table import as_given
from tests.support.scenarios import SOAK

Case = tuple[str, str]
"""The name of a resource as the table has it, and an operation. With a role it is one right of the table."""


def every_right(*roles: Role, short: Collection[Case] | None = None) -> list[ParameterSet]:
    """Each right of the table that these roles have, as a row and an operation. Those that are not among `short` are
    tested in full length only."""
    return [
        pytest.param(
            row,
            operation,
            id=f"{row.role}: {operation} {row.name}",
            marks=SOAK if short is not None and (row.name, operation) not in short else (),
        )
        for row in ROWS
        if row.role in roles
        for operation in row.operations
    ]


def cases(*roles: Role) -> list[Case]:
    """The rights of the table that these roles have."""
    return [(row.name, operation) for row in ROWS if row.role in roles for operation in row.operations]


def of_row(installation: Installation, row: Row, operation: str) -> list[Right]:
    """The rights that one operation of a row stands for: one for each lane, else one."""
    return [each for each in rights([row.role], installation.names) if each.row == row and each.operation == operation]


class Taken:
    """Rights that a user lacks from entering to leaving."""

    def __init__(self, installation: Installation, user: str, missing: Iterable[Right]) -> None:
        self._broker, self._user = installation.broker, user
        self._given = [as_given(each.row, each.name, each.operation) for each in missing]

    def __enter__(self) -> None:
        self._broker.take(self._user, self._given)

    def __exit__(self, *_: object) -> None:
        self._broker.allow(self._user, self._given)
