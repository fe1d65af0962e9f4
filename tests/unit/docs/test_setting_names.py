"""Every setting that a message, a file of a deployment or a page names exists, so that a hint can be followed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream.setting_names import NOT_SETTINGS, OF_OTHERS, variable_of
from millstream.settings import Settings, setting_names
from tests.support.paths import ROOT

CODE = ("analytics", "consumers", "millstream", "producers", "schemas", "streams")
VARIABLE = re.compile(r"MILLSTREAM_[A-Z][A-Z_]*[A-Z]")
GROUPS = sorted({name.partition(".")[0] for name in setting_names() if "." in name})
DOTTED = re.compile(rf"(?<![\w./])(?:{'|'.join(GROUPS)})\.[a-z_]{{3,}}(?![\w/(.])")
VARIABLES = {variable_of(name) for name in [*setting_names(), *Settings.model_fields]} | NOT_SETTINGS


def modules() -> list[Path]:
    found = {path.resolve() for folder in CODE for path in (ROOT / folder).rglob("*.py")}
    return sorted(path for path in found if path.name not in ("__init__.py", "lazy_exports.py", "setting_names.py"))


def texts(module: Path) -> Iterator[str]:
    """Every string of a module, the parts of f-strings too."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def files() -> list[Path]:
    """Pages, and what deployments are made from."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "docker-compose.yml", ROOT / "Dockerfile"]
    return sorted([*pages, *(path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".yml", ".yaml", ".md"))])


def unknown(text: str) -> set[str]:
    return {name for name in VARIABLE.findall(text) if name not in VARIABLES and not name.startswith(OF_OTHERS)}


def test_every_variable_that_a_message_names_exists() -> None:
    wrong = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules()
        for text in texts(module)
        for name in unknown(text)
    }
    assert wrong == set()


def test_every_dotted_setting_that_a_message_names_exists() -> None:
    known = {*setting_names(), "kafka.log", "kafka.lock"}  # The latter are files.
    wrong = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules()
        for text in texts(module)
        for name in DOTTED.findall(text)
        if name not in known
    }
    assert wrong == set()


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_every_variable_that_a_page_or_a_deployment_names_exists(file: Path) -> None:
    assert unknown(file.read_text("utf-8")) == set()
