"""Loading a project's handlers: what cannot be loaded is named, and nothing that it does ends the command otherwise."""

import sys
from pathlib import Path

import pytest

from millstream.cli.failure import Failure
from millstream.cli.handlers import load_handlers


@pytest.mark.parametrize("ends", ["exit()", "import sys; sys.exit(0)", "raise SystemExit('bye')"])
def test_a_module_that_ends_the_process_while_it_is_imported_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    (tmp_path / "ending.py").write_text(ends, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(Failure, match="importing 'ending' failed: it ends the process") as caught:
        load_handlers(["ending"])
    assert caught.value.code == 2
