"""A command that no worker could apply is rejected before anything is sent."""

import pytest
from typer.testing import CliRunner

from millstream.cli.commands import app, send
from millstream.cli.failure import Failure
from millstream.schemas import Action, Scope


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


@pytest.mark.parametrize(("options", "said"), [([], "no limit is given"), (["--clear", "--weight", "2"], "--clear")])
def test_a_quota_command_names_the_missing_option(options: list[str], said: str) -> None:
    ran = CliRunner().invoke(app, ["quota", "tenant", "acme", *options])
    assert isinstance(ran.exception, Failure)
    assert said in str(ran.exception)
