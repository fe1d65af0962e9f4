"""What commands print of others' text: messages, failures and results that go to a screen, a pipe or a file."""

import io

import pytest
from rich.text import Text

from millstream.cli import main, output
from millstream.cli.failure import Failure
from millstream.cli.job import _table as job_table
from millstream.cli.result_stream import copy
from millstream.cli.sql import _table as sql_table
from millstream.terminal import Terminal
from tests.support.hostile import HOSTILE, controls_in


class _Result:
    def __init__(self, names: list[str], rows: list[list[object]]) -> None:
        self.column_names, self.result_rows = names, rows


class _Client:
    """Answers every query with the same rows."""

    def __init__(self, names: list[str], rows: list[list[object]]) -> None:
        self._result = _Result(names, rows)

    def query(self, _: str) -> _Result:
        return self._result


class _Screen(io.BytesIO):
    def isatty(self) -> bool:
        return True


def shown(renderable: object) -> str:
    out = io.StringIO()
    Terminal(file=out, width=200).print(renderable)
    return out.getvalue()


def test_a_failure_is_one_error_however_many_lines_its_text_has(capsys: pytest.CaptureFixture[str]) -> None:
    for text in HOSTILE:
        output.print_failure(Failure(text, text))
        said = capsys.readouterr().err
        assert not controls_in(said, but="\n\t"), text
        first, *others = said.split("\n")[:-1]
        assert first.startswith("error ") and all(line.startswith("  ") for line in others), text


def test_an_unexpected_error_ends_with_a_traceback_that_controls_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise LookupError("\x1b]0;TITLE\x07\x1b[2J\x9b31m")

    monkeypatch.setattr("millstream.cli.app.app", broken)
    with pytest.raises(SystemExit) as end:
        main()
    assert "LookupError" in str(end.value) and not controls_in(str(end.value), but="\n\t")


def test_a_job_of_a_hostile_tenant_is_shown_line_by_line() -> None:
    for text in HOSTILE:
        state = {"state": text, "tenant": text, "labels": {text: text}, "error_message": text, "stack": text}
        said = shown(job_table(state))
        assert not controls_in(said), text
        assert len(said.splitlines()) == 5 or len(text) > 100


def test_rows_of_a_query_are_shown_on_one_line_each() -> None:
    for text in HOSTILE:
        said = shown(sql_table(_Client([text, "b"], [[text, text], [b"\xff", 1]]), "SELECT"))  # type: ignore[arg-type]
        assert not controls_in(said), text


def test_a_single_value_is_shown_with_its_line_breaks_and_nothing_else() -> None:
    found = sql_table(_Client(["statement"], [["CREATE TABLE t\n(\n  a Int8 -- \x1b[2J\n)"]]), "SHOW")  # type: ignore[arg-type]
    assert isinstance(found, Text)
    assert found.plain == "statement\nCREATE TABLE t\n(\n  a Int8 -- \\x1b[2J\n)"


@pytest.mark.parametrize("named", ["csv", "json", "jsonl"])
def test_a_result_on_a_screen_controls_nothing(named: str) -> None:
    data = "\n".join(each for each in HOSTILE if "\ud800" not in each).encode() + b"\xff\xfe\x9b"
    screen = _Screen()
    copy(io.BytesIO(data), screen, named)
    assert not controls_in(screen.getvalue().decode(), but="\n\t")


def test_a_result_in_a_file_or_pipe_is_unchanged_but_for_formulas() -> None:
    data = b'"=1","\x1b[2J",-2,"-2"\n'
    for named, want in (("jsonl", data), ("parquet", data), ("csv", b'"\'=1","\x1b[2J",-2,"\'-2"\n')):
        pipe = io.BytesIO()
        copy(io.BytesIO(data), pipe, named)
        assert pipe.getvalue() == want


def test_parquet_is_not_written_to_a_screen() -> None:
    with pytest.raises(Failure, match="parquet is not for a terminal"):
        copy(io.BytesIO(b"PAR1"), _Screen(), "parquet")


def test_no_failure_and_no_warning_shows_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_failure(Failure("cannot reach http://me:hunter2@host", "set it"))
    output.warn("cannot reach http://me:hunter2@host")
    said = capsys.readouterr().err
    assert "hunter2" not in said and said.count("http://[redacted]@host") == 2
