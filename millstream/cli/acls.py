"""`millstream acls`"""

from dataclasses import asdict, dataclass
from typing import Annotated, get_args

import typer
from rich.console import Group, RenderableType

from millstream import settings as settings_module
from millstream.cli.failure import REFUSED, Failure
from millstream.cli.kafka_access import accepted_connection, groups, topics, wanted_rights
from millstream.cli.options import AsJson
from millstream.cli.output import answer, columns, out
from millstream.rights.check import missing_rights, told
from millstream.rights.table import Right, Role, kafka_acls
from millstream.schemas.denial import RIGHTS
from millstream.terminal import styled

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class GrantedTo:
    """A right, and who is to have it."""

    role: str
    principal: str
    resource: str
    name: str
    pattern: str
    operation: str
    without: str
    vital: bool


def acls(
    role: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(ROLES)}; repeatable; all when absent.")
    ] = None,
    principal: Annotated[
        list[str] | None,
        typer.Option(help="Principal of a role, as ROLE=User:NAME; repeatable; User:millstream-ROLE when absent."),
    ] = None,
    lane: Annotated[list[str] | None, typer.Option(help="Lane of workers and producers; all when absent.")] = None,
    as_commands: Annotated[bool, typer.Option("--commands", help="Print commands for kafka-acls.sh.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Print what the configured user lacks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the least Kafka rights of each service and command, with the configured topics and groups.

    With --check nothing is printed but the rights of --role that the configured user lacks, as far as the brokers tell;
    exit code 6 when there are any.

    Examples:

      millstream acls --role worker --principal worker=User:alice --commands

      millstream acls --role sink --check
    """
    settings = settings_module.load()
    roles = [_role(each) for each in role or ROLES]
    lanes = lane or ()
    principals = _principals(principal or [])
    if check:
        connection = accepted_connection(settings)
        missing = missing_rights(
            connection, wanted_rights(settings, roles, lanes), groups(settings, lanes), topics(settings)
        )
        answer(
            as_json,
            [asdict(_granted(each, connection.user)) for each in missing],
            lambda: (
                "\n".join(f"{told(connection.user, each)}: {each.row.without}" for each in missing) or "all are there"
            ),
        )
        if missing:
            raise Failure(f"{len(missing)} rights are missing", RIGHTS, code=REFUSED)
        return
    if as_commands:
        lines = [
            line
            for each in roles
            for line in kafka_acls(principals[each], wanted_rights(settings, [each], lanes), settings.kafka.bootstrap)
        ]
        answer(as_json, lines, lambda: "")
        if not as_json:
            out.print("\n".join(lines), soft_wrap=True, markup=False)
        return
    found = [_granted(right, principals[right.row.role]) for right in wanted_rights(settings, roles, lanes)]
    answer(as_json, [asdict(each) for each in found], lambda: _table(found))


def _granted(right: Right, principal: str) -> GrantedTo:
    row = right.row
    return GrantedTo(row.role, principal, row.kind, right.name, row.pattern, right.operation, row.without, row.vital)


def _role(name: str) -> Role:
    for each in ROLES:
        if each == name:
            return each
    raise Failure(f"no role {name!r}", f"choose one of {', '.join(ROLES)}", code=2)


def _principals(given: list[str]) -> dict[Role, str]:
    found: dict[Role, str] = {each: f"User:millstream-{each}" for each in ROLES}
    for pair in given:
        role, equals, principal = pair.partition("=")
        if not equals or ":" not in principal:
            raise Failure(f"principal {pair!r} is not ROLE=User:NAME", code=2)
        found[_role(role)] = principal
    return found


def _table(found: list[GrantedTo]) -> RenderableType:
    rows: dict[tuple[str, ...], list[str]] = {}
    for each in found:
        place = (each.principal, each.resource, each.name, each.pattern)
        operations = rows.setdefault(place, [])
        if each.operation not in operations:
            operations.append(each.operation)
    table = columns(
        ("principal", "resource", "name", "pattern", "operations"),
        [(*place, ", ".join(operations)) for place, operations in rows.items()],
    )
    hint = "without each: docs/security.md; --commands prints commands for kafka-acls.sh"
    return Group(table, styled((hint, "dim")))
