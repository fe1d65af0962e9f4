"""How help looks."""

import pytest
from typer.testing import CliRunner

from millstream.cli.app import COMMANDS, app

WORDS = [[], *([entry.name] for entry in COMMANDS), ["job", "cancel"], ["commands", "quota"], ["topics", "apply"]]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words) or "millstream")
def test_a_flag_is_shown_without_a_value(words: list[str]) -> None:
    printed = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "120"}).output
    assert "--help" in printed
    assert "<bool>" not in printed


def test_a_paragraph_of_help_is_wrapped_where_the_terminal_ends() -> None:
    wide = CliRunner().invoke(app, ["job", "cancel", "--help"], env={"COLUMNS": "500"}).output
    assert any("A coroutine is cancelled" in line and "the command is sent" in line for line in wide.splitlines())
