"""`millstream control`: orders to all workers."""

import getpass
from typing import Annotated

import typer
from pydantic import ValidationError

from millstream import settings as settings_module
from millstream.cli.output import Failure, err
from millstream.producers import OrderNotTaken, give_order
from millstream.schemas import Action, Command, Scope

app = typer.Typer(help="Orders to all workers, now and after every restart.", no_args_is_help=True)

What = Annotated[Scope, typer.Argument(help="tenant, job_type or lane.")]
Name = Annotated[str, typer.Argument(help="Which one.")]
Reason = Annotated[str, typer.Option(help="Why, for those who look later.")]


@app.command("pause")
def pause(scope: What, target: Name, reason: Reason = "") -> None:
    """Let no job of a tenant, type or lane begin until it is resumed. What runs goes on.

    Example: millstream control pause tenant acme --reason "their database is down"
    """
    give(Action.PAUSE, scope, target, reason=reason)


@app.command("resume")
def resume(scope: What, target: Name, reason: Reason = "") -> None:
    """Let jobs begin again.

    Example: millstream control resume tenant acme
    """
    give(Action.RESUME, scope, target, reason=reason)


@app.command("quota")
def quota(
    scope: What,
    target: Name,
    max_concurrency: Annotated[int | None, typer.Option(min=0, help="Jobs at once on each worker.")] = None,
    max_per_second: Annotated[float | None, typer.Option(min=0.001, help="Starts a second on each worker.")] = None,
    weight: Annotated[float | None, typer.Option(min=0.01, max=100, help="A tenant's share against others.")] = None,
    reason: Reason = "",
) -> None:
    """Set what a tenant, type or lane may use. What is not named stays as it was configured.

    Example: millstream control quota tenant acme --max-concurrency 20 --weight 2
    """
    if max_concurrency is None and max_per_second is None and weight is None:
        raise Failure("no limit is named", "give --max-concurrency, --max-per-second or --weight", code=2)
    give(
        Action.SET_QUOTA,
        scope,
        target,
        reason=reason,
        max_concurrency=max_concurrency,
        max_per_second=max_per_second,
        weight=weight,
    )


def give(
    action: Action,
    scope: Scope,
    target: str,
    *,
    reason: str,
    max_concurrency: int | None = None,
    max_per_second: float | None = None,
    weight: float | None = None,
) -> None:
    """Send one order. Raises `Failure` when it cannot be sent."""
    if scope is Scope.JOB and action is not Action.CANCEL_JOB:
        raise Failure("a single job can only be cancelled", "millstream job cancel ID", code=2)
    settings = settings_module.load()
    try:
        command = Command(
            action=action,
            scope=scope,
            target=target,
            issued_by=getpass.getuser(),
            reason=reason,
            max_concurrency=max_concurrency,
            max_per_second=max_per_second,
            weight=weight,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "order"
        raise Failure(f"{where} {first['input']!r}: {first['msg']}", "nothing was sent", code=2) from error
    try:
        give_order(command, settings.connection, settings.catalogue, settings.codec)
    except OrderNotTaken as error:
        raise Failure(str(error), "is Kafka there? `millstream doctor` looks", code=3) from error
    err.print(f"[green]sent[/] {action.value} {scope.value} {target}")
