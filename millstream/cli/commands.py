"""`millstream commands`: pause, resume and limit jobs on all workers."""

import getpass
import re
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import RenderableType

from millstream import settings as settings_module
from millstream.cli.failure import Failure
from millstream.cli.kafka_access import accepted_connection
from millstream.cli.options import AsJson
from millstream.cli.output import answer, columns, err
from millstream.producers import (
    CommandNotSent,
    CommandsUnreadable,
    active_commands,
    remove_expired_cancellations,
    revoke_command,
    send_command,
)
from millstream.schemas import Action, Command, Scope
from millstream.schemas.command import command_key
from millstream.schemas.record import NAME_PATTERN
from millstream.settings import Settings
from millstream.terminal import styled

app = typer.Typer(help="Commands to all workers; they stay active after a restart.", no_args_is_help=True)


What = Annotated[Literal["tenant", "job_type", "lane"], typer.Argument(help="tenant, job_type or lane.")]
Name = Annotated[str, typer.Argument(help="Its name.")]
Reason = Annotated[str, typer.Option(help="Why; shown by `millstream commands list`.")]


@app.command("pause")
def pause(scope: What, target: Name, reason: Reason = "") -> None:
    """Start no job of a tenant, type or lane until it is resumed. Running jobs continue.

    Example: millstream commands pause tenant acme --reason "their database is down"
    """
    send(Action.PAUSE, Scope(scope), target, reason=reason)


@app.command("resume")
def resume(scope: What, target: Name, reason: Reason = "") -> None:
    """Start jobs of a paused tenant, type or lane again.

    Example: millstream commands resume tenant acme
    """
    send(Action.RESUME, Scope(scope), target, reason=reason)


@app.command("quota")
def quota(
    scope: What,
    target: Name,
    max_concurrency: Annotated[int | None, typer.Option(min=0, help="Running jobs on each worker.")] = None,
    max_per_second: Annotated[float | None, typer.Option(min=0.001, help="Starts per second on each worker.")] = None,
    weight: Annotated[
        float | None, typer.Option(min=0.01, max=100, help="A tenant's share relative to others.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Revoke the quota: the configured one applies again.")] = False,
    reason: Reason = "",
) -> None:
    """Set the quota of a tenant, type or lane.

    It replaces an earlier quota command as a whole: a limit that is not given is as configured.

    Example: millstream commands quota tenant acme --max-concurrency 20 --weight 2

    Example: millstream commands quota tenant acme --clear
    """
    named = (max_concurrency, max_per_second, weight) != (None, None, None)
    if clear and named:
        raise Failure("--clear excludes a limit", "a new quota replaces the old one without --clear", code=2)
    if not clear and not named:
        raise Failure("no limit is given", "add --max-concurrency, --max-per-second, --weight or --clear", code=2)
    send(
        Action.SET_QUOTA,
        Scope(scope),
        target,
        reason=reason,
        max_concurrency=max_concurrency,
        max_per_second=max_per_second,
        weight=weight,
    )


@app.command("revoke")
def revoke_(
    action: Annotated[
        Literal["cancel_job", "pause", "set_quota"],
        typer.Argument(help="What the command does: cancel_job, pause or set_quota."),
    ],
    scope: Annotated[
        Literal["job", "tenant", "job_type", "lane"], typer.Argument(help="job, tenant, job_type or lane.")
    ],
    target: Name,
) -> None:
    """Take back a command that `millstream commands list` shows: afterwards everything is as if it had not been sent.

    Example: millstream commands revoke pause tenant acme

    Example: millstream commands revoke cancel_job job 01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0
    """
    revoke(Action(action), Scope(scope), target)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the active commands: pauses, quotas that are not the configured ones, and cancellations.

    A cancellation leaves the list when its job ends; that of a job that had ended before stays until it is revoked.

    Example: millstream commands list
    """
    settings = settings_module.load()
    try:
        active = active_commands(accepted_connection(settings), settings.catalogue, settings.codec)
    except CommandsUnreadable as error:
        raise Failure(str(error), "`millstream doctor` checks Kafka", code=3) from error
    answer(as_json, [each.model_dump(mode="json") for each in active], lambda: _table(active))


def send(
    action: Action,
    scope: Scope,
    target: str,
    *,
    reason: str,
    max_concurrency: int | None = None,
    max_per_second: float | None = None,
    weight: float | None = None,
) -> None:
    """Send one command. Raises `Failure` when it cannot be sent."""
    if scope is Scope.JOB and action is not Action.CANCEL_JOB:
        raise Failure("a single job can only be cancelled", "millstream job cancel ID", code=2)
    settings = settings_module.load()
    if action in (Action.PAUSE, Action.SET_QUOTA):
        _require_possible(scope, target, settings)
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
        where = ".".join(str(part) for part in first["loc"]) or "command"
        raise Failure(f"{where} {first['input']!r}: {first['msg']}", "nothing was sent", code=2) from error
    try:
        send_command(command, accepted_connection(settings), settings.catalogue, settings.codec)
    except CommandNotSent as error:
        raise Failure(str(error), "`millstream doctor` checks Kafka", code=3) from error
    err.print(styled(("sent", "green"), f" {action.value} {scope.value} {target}"))
    _remove_expired(settings)


def _require_possible(scope: Scope, target: str, settings: Settings) -> None:
    """Raises `Failure` for a name that no job can have: the command would stay active and hold back nothing."""
    if scope is Scope.LANE and target not in settings.topics.lanes:
        raise Failure(
            f"there is no lane {target!r}; the lanes are {', '.join(settings.topics.lanes)}",
            "nothing was sent; MILLSTREAM_TOPICS__LANES names the lanes",
            code=2,
        )
    if scope in (Scope.TENANT, Scope.JOB_TYPE) and not re.fullmatch(NAME_PATTERN, target):
        raise Failure(
            f"target {target!r}: no {scope.value} can have this name (letters, digits, `.`, `-`, `_`; 128 at most)",
            "nothing was sent",
            code=2,
        )


def revoke(action: Action, scope: Scope, target: str) -> None:
    """Take back one command. Raises `Failure` when there is none, and when that cannot be sent."""
    settings = settings_module.load()
    connection, topics = accepted_connection(settings), settings.catalogue
    try:
        key = command_key(action, scope, target)
        if key not in {each.key for each in active_commands(connection, topics, settings.codec)}:
            raise Failure(
                f"no command {action.value} {scope.value} {target} is active",
                "`millstream commands list` shows them all",
            )
        revoke_command(action, scope, target, connection, topics)
    except (CommandNotSent, CommandsUnreadable) as error:
        raise Failure(str(error), "`millstream doctor` checks Kafka", code=3) from error
    err.print(styled(("revoked", "green"), f" {action.value} {scope.value} {target}"))
    _remove_expired(settings)


def _remove_expired(settings: Settings) -> None:
    """Keep the command topic small. What was asked for is done already, so a failure only says so."""
    try:
        remove_expired_cancellations(settings.connection.quiet, settings.catalogue, settings.codec)
    except (CommandNotSent, CommandsUnreadable) as error:
        err.print(styled(("expired cancellations were not removed:", "yellow"), f" {error}"))


def _table(active: list[Command]) -> RenderableType:
    if not active:
        return "no command is active: everything runs as configured"
    names = ("command", "scope", "target", "limits", "since", "by", "reason")
    return columns(names, [_row(each) for each in active])


def _row(command: Command) -> tuple[str, ...]:
    return (
        command.action.value,
        command.scope.value,
        command.target,
        ", ".join(f"{name} {value:g}" for name, value in command.limits.items()) or "-",
        command.issued_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        command.issued_by or "-",
        command.reason or "-",
    )
