"""What README and docs/ name exists: relative links and their anchors, files, folders, and tests."""

import re
from functools import cache
from pathlib import Path

import pytest

from millstream.settings import Settings
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PATH = re.compile(r"[\w.-]+(/[\w.*-]+)*/?")
FILE_NAME = re.compile(r"[\w*-]+\.(py|sql|md|json|avsc|toml|yml|yaml|properties|ipynb)")
TEST = re.compile(r"\btest_\w+(?!\w*\.py)")
SETTING = re.compile(r"(?<![\w./])(kafka|topics|clickhouse|worker|tracker|sink)\.(?!py\b)(\w+)(?![\w/(])")
SKIPPED = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "__pycache__",
    "build",
    "dist",
    "node_modules",
}
USERS_FILES = {"handlers.py", "millstream.toml", "prices.csv", "budgets.yaml", "postmortem.md", "focus.csv"}
"""Files of readers, which the pages tell them to write."""


@cache
def files() -> tuple[Path, ...]:
    """Every file of the checkout, relative to it; what is linked into `millstream/` only once."""
    found: list[Path] = []
    pending = [ROOT]
    while pending:
        for entry in pending.pop().iterdir():
            if entry.name in SKIPPED or entry.is_symlink():
                continue
            if entry.is_dir():
                pending.append(entry)
            else:
                found.append(entry.relative_to(ROOT))
    return tuple(found)


@cache
def folders() -> frozenset[str]:
    return frozenset(str(parent) for file in files() for parent in file.parents)


@cache
def defined_tests() -> frozenset[str]:
    names: set[str] = set()
    for file in files():
        if file.parts[0] == "tests" and file.suffix == ".py":
            names.update(re.findall(r"def (test_\w+)\(", (ROOT / file).read_text("utf-8")))
    return frozenset(names)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = FENCED.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def exists(path: str) -> bool:
    path = path.rstrip("/")
    return (ROOT / path).exists() or path in folders() or any(file.match(path) for file in files())


def named_paths(text: str) -> set[str]:
    """What stands in code marks and can only be a file or a folder of the checkout."""
    top = {file.parts[0] for file in files() if len(file.parts) > 1}
    named = set()
    for code in CODE.findall(FENCED.sub("", text)):
        for word in code.split():
            whole = PATH.fullmatch(word) is not None
            if whole and (("/" in word and word.split("/")[0] in top) or FILE_NAME.fullmatch(word)):
                named.add(word)
    return named - USERS_FILES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_folder_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in sorted(named_paths(page.read_text("utf-8"))) if not exists(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = {name for code in CODE.findall(page.read_text("utf-8")) for name in TEST.findall(code)}
    stems = {file.stem for file in files()}
    assert named - defined_tests() - stems == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = {name for code in CODE.findall(page.read_text("utf-8")) for name in SETTING.findall(code)}
    missing = [
        f"{group}.{name}"
        for group, name in sorted(named)
        if name not in getattr(Settings.model_fields[group].annotation, "model_fields", {})
    ]
    assert not missing


def test_each_guarantee_names_what_checks_it() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    table = page.split("\n## ")[0]
    rows = [row.split("|")[1:-1] for row in table.splitlines() if row.startswith("|")][2:]
    assert rows
    histories = (ROOT / "tests" / "support" / "guarantees.py").read_text("utf-8")
    for guarantee, _, checks in rows:
        named = CODE.findall(checks)
        assert any(exists(name) or name in defined_tests() for name in named), f"no test of: {guarantee}"
        for name in named:
            if re.fullmatch(r"[A-Z]\w+", name):
                assert f"class {name}" in histories, f"{name} is no guarantee of tests/support/guarantees.py"


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in readme] == []
