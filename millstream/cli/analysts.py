"""`millstream analysts`"""

from collections.abc import Callable
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError

from millstream import settings as settings_module
from millstream.analytics.access import (
    ROLE,
    Limits,
    Schema,
    analyst_role,
    read_schema,
    tenant_role,
    tenant_role_name,
)
from millstream.cli.failure import Failure
from millstream.cli.options import AsJson
from millstream.cli.output import answer
from millstream.clickhouse import connect

app = typer.Typer(help="Roles for reading ClickHouse: who may read what, and how much at once.", no_args_is_help=True)

APPLY = typer.Option("--apply", help="Run the statements instead of printing them.")
SECONDS = typer.Option(min=1, help="Longest query, in seconds.")


@app.command("role")
def role(apply: Annotated[bool, APPLY] = False, seconds: Annotated[int, SECONDS] = 60, as_json: AsJson = False) -> None:
    """A role that may read every table, within limits. Assign it with `GRANT millstream_analyst TO user`.

    Examples:

      millstream analysts role

      millstream analysts role --apply --seconds 120
    """
    _make(lambda schema: analyst_role(schema, Limits(seconds=seconds)), ROLE, apply, as_json)


@app.command("tenant")
def tenant(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    apply: Annotated[bool, APPLY] = False,
    seconds: Annotated[int, SECONDS] = 60,
    as_json: AsJson = False,
) -> None:
    """A role that sees the rows of one tenant only. Run it again after a migration: new tables need policies.

    Examples:

      millstream analysts tenant acme --apply
    """
    _make(lambda schema: tenant_role(schema, name, Limits(seconds=seconds)), tenant_role_name(name), apply, as_json)


def _make(statements_for: Callable[[Schema], list[str]], role_name: str, apply: bool, as_json: bool) -> None:
    client = connect(settings_module.load())
    statements = statements_for(read_schema(client))
    if apply:
        for statement in statements:
            try:
                client.command(statement)
            except ClickHouseError as error:
                raise Failure(
                    f"{statement}\n{str(error).strip()}",
                    "the embedded engine has no access control; on a server the user needs ACCESS MANAGEMENT",
                ) from error
    done = f"role {role_name} created" if apply else ";\n".join(statements) + ";"
    answer(as_json, {"role": role_name, "statements": statements, "applied": apply}, lambda: done)
