"""A command that no worker could apply is rejected before anything is sent."""

import pytest
from typer.testing import CliRunner

from millstream.cli import commands
from millstream.cli.commands import app, send
from millstream.cli.failure import Failure
from millstream.producers import CommandsUnreadable
from millstream.schemas import Action, Command, Scope


@pytest.fixture(autouse=True)
def _broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers."""
    monkeypatch.setattr(commands, "accepted_connection", lambda settings: settings.connection)


@pytest.mark.parametrize(
    ("target", "limits", "said"),
    [
        ("", {}, "target ''"),
        ("acme", {"max_concurrency": -1}, "max_concurrency -1"),
        ("acme", {"weight": 0.0}, "weight 0.0"),
        ("acme", {"max_per_second": float("nan")}, "max_per_second nan"),
    ],
)
def test_the_error_names_the_wrong_value(target: str, limits: dict[str, float], said: str) -> None:
    with pytest.raises(Failure, match=said) as refused:
        send(Action.SET_QUOTA, Scope.TENANT, target, reason="", **limits)  # type: ignore[arg-type]
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("scope", "target", "said"),
    [
        (Scope.TENANT, "Acme & Co", "'Acme & Co'"),
        (Scope.TENANT, "acme\n", "no tenant can have"),
        (Scope.JOB_TYPE, "-x", "no job_type can have"),
        (Scope.LANE, "urgent", "the lanes are high, default, bulk"),
    ],
)
def test_a_name_that_no_job_can_have_is_refused(scope: Scope, target: str, said: str) -> None:
    with pytest.raises(Failure, match=said) as refused:
        send(Action.PAUSE, scope, target, reason="")
    assert refused.value.code == 2


def test_what_an_earlier_release_paused_can_be_resumed_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(commands, "send_command", lambda command, *_: sent.append(command.target))
    monkeypatch.setattr(commands, "remove_expired_cancellations", lambda *_: 0)
    send(Action.RESUME, Scope.TENANT, "Acme & Co", reason="")
    assert sent == ["Acme & Co"]


@pytest.mark.parametrize(("options", "said"), [([], "no limit is given"), (["--clear", "--weight", "2"], "--clear")])
def test_a_quota_command_names_the_missing_option(options: list[str], said: str) -> None:
    ran = CliRunner().invoke(app, ["quota", "tenant", "acme", *options])
    assert isinstance(ran.exception, Failure)
    assert said in str(ran.exception)


@pytest.mark.parametrize("target", ["acme", "other"])
def test_only_a_command_that_is_active_can_be_revoked(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    active = [Command(action=Action.PAUSE, scope=Scope.TENANT, target="acme")]
    revoked: list[str] = []
    monkeypatch.setattr(commands, "active_commands", lambda *_: active)
    monkeypatch.setattr(commands, "revoke_command", lambda action, scope, name, *_: revoked.append(name))
    monkeypatch.setattr(commands, "remove_expired_cancellations", lambda *_: 0)
    ran = CliRunner().invoke(app, ["revoke", "pause", "tenant", target])
    assert revoked == (["acme"] if target == "acme" else [])
    assert (ran.exception is None) == (target == "acme")
    if ran.exception is not None:
        assert isinstance(ran.exception, Failure)


def test_a_command_that_was_sent_is_no_failure_when_expired_ones_cannot_be_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []

    def unreadable(*_: object) -> int:
        raise CommandsUnreadable("jobs.commands: not authorized")

    monkeypatch.setattr(commands, "send_command", lambda command, *_: sent.append(command.target))
    monkeypatch.setattr(commands, "remove_expired_cancellations", unreadable)
    send(Action.PAUSE, Scope.TENANT, "acme", reason="")
    assert sent == ["acme"]
    assert "expired cancellations were not removed" in capsys.readouterr().err
