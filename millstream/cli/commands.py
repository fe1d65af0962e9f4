"""`millstream control`: orders to all workers."""

import getpass
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import RenderableType

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import Failure, answer, columns, err
from millstream.producers import OrderNotTaken, OrdersUnreadable, give_order, standing_orders
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
    clear: Annotated[bool, typer.Option("--clear", help="Go back to the quota that is configured.")] = False,
    reason: Reason = "",
) -> None:
    """Set what a tenant, type or lane may use, as a whole: a limit that is not named is as it was configured, whatever
    was ordered before.

    Example: millstream control quota tenant acme --max-concurrency 20 --weight 2

    Example: millstream control quota tenant acme --clear
    """
    named = (max_concurrency, max_per_second, weight) != (None, None, None)
    if clear and named:
        raise Failure("--clear goes with no limit", "a new quota needs no --clear: it replaces the old one", code=2)
    if not clear and not named:
        raise Failure("no limit is named", "give --max-concurrency, --max-per-second, --weight or --clear", code=2)
    give(
        Action.SET_QUOTA,
        scope,
        target,
        reason=reason,
        max_concurrency=max_concurrency,
        max_per_second=max_per_second,
        weight=weight,
    )


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the orders that hold now: what is paused, quotas that differ from the configuration, jobs called off that
    have not ended.

    Example: millstream control list
    """
    settings = settings_module.load()
    try:
        orders = standing_orders(settings.connection.quiet, settings.catalogue, settings.codec)
    except OrdersUnreadable as error:
        raise Failure(str(error), "is Kafka there? `millstream doctor` looks", code=3) from error
    answer(as_json, [order.model_dump(mode="json") for order in orders], lambda: _table(orders))


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
        give_order(command, settings.connection.quiet, settings.catalogue, settings.codec)
    except OrderNotTaken as error:
        raise Failure(str(error), "is Kafka there? `millstream doctor` looks", code=3) from error
    err.print(f"[green]sent[/] {action.value} {scope.value} {target}")


def _table(orders: list[Command]) -> RenderableType:
    if not orders:
        return "no order stands: everything runs as configured"
    names = ("order", "scope", "target", "limits", "since", "by", "reason")
    return columns(names, [_row(order) for order in orders])


def _row(order: Command) -> tuple[str, ...]:
    return (
        order.action.value,
        order.scope.value,
        order.target,
        ", ".join(f"{name} {value:g}" for name, value in order.limits.items()) or "-",
        order.issued_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        order.issued_by or "-",
        order.reason or "-",
    )
