"""What every SQL file promises: a question, parameters and columns for a view; deduplication for a table."""

import re
from importlib import resources

import pytest

from millstream.analytics import view_names, view_text

MIGRATIONS = sorted(
    (resources.files("millstream.analytics.warehouse") / "migrations").iterdir(), key=lambda file: file.name
)


@pytest.mark.parametrize("view", view_names())
def test_a_view_shows_its_question_parameters_columns_and_an_example(view: str) -> None:
    lines = view_text(view).splitlines()
    comment = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
    assert re.match(r"[A-Z][^?]+\?", comment), "the first line is the question"
    for part in ("Parameters:", "Columns:", "Example: SELECT ", f" FROM {view}("):
        assert part in comment
    for parameter in set(re.findall(r"\{(\w+):", view_text(view))):
        assert re.search(rf"\b{parameter}\b", comment.split("Columns:")[0]), f"{parameter} is not described"
    assert f"CREATE OR REPLACE VIEW {view} AS" in view_text(view)


def test_views_are_created_after_the_views_that_they_read() -> None:
    order = view_names()
    assert order.index("priced_usage") < order.index("cost_by_tenant")


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: file.name)
def test_every_table_of_rows_remembers_enough_inserts_to_drop_a_repeat(file: object) -> None:
    text = file.read_text("utf-8")  # type: ignore[attr-defined]
    for table in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)\n\(.*?;\n", text, re.DOTALL):
        body = text.split(f"CREATE TABLE IF NOT EXISTS {table}\n")[1].split(";\n")[0]
        if "ENGINE = Null" in body:
            continue
        window = re.search(r"non_replicated_deduplication_window = (\d+)", body)
        assert window is not None, f"{table} would store a repeated insert twice"
        assert int(window[1]) >= (100 if table == "price_book" else 10_000)


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: file.name)
def test_every_statement_may_run_twice(file: object) -> None:
    text = re.sub(r"--[^\n]*", "", file.read_text("utf-8"))  # type: ignore[attr-defined]
    for statement in filter(None, (part.strip() for part in text.split(";\n"))):
        first = statement.split("\n")[0]
        repeatable = [
            *("IF NOT EXISTS", "MODIFY QUERY", "MODIFY COLUMN", "MODIFY SETTING"),
            *("RENAME TABLE IF EXISTS", "DROP VIEW IF EXISTS"),
        ]
        assert any(each in first for each in repeatable) or "insert_deduplication_token" in statement, first
