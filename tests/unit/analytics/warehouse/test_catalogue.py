"""Descriptions of views, read from the first comment of their files."""

import pytest

from millstream.analytics.warehouse import catalogue
from millstream.analytics.warehouse.catalogue import Undescribed, view, views

TEXT = """\
-- How long do jobs wait?
--
-- Reads the rollups.
--
-- Parameters: from, to (UTC); by ('' for all,
--   or 'lane').
-- Columns: step (UTC, start of the step), wait_p95_ms (within 1 %, see latency),
--   failure_rate. Longest first.
-- Example: SELECT * FROM waits(from='2026-11-24', to='2026-11-25',
--   by='')
CREATE OR REPLACE VIEW waits AS
SELECT {from:DateTime64(6, 'UTC')} AS step, {by:String} AS lane FROM latency_1m;
"""


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "view_text", lambda name: TEXT if name == "waits" else TEXT.replace("Columns:", ""))
    view.cache_clear()


@pytest.mark.usefixtures("described")
def test_a_comment_gives_question_notes_parameters_columns_and_example() -> None:
    waits = view("waits")
    assert waits.question == "How long do jobs wait?"
    assert waits.notes == ["Reads the rollups.", "Longest first."]
    assert waits.parameters == {"from": "DateTime64(6, 'UTC')", "by": "String"}
    assert waits.parameter_text == "from, to (UTC); by ('' for all, or 'lane')."
    assert [(each.name, each.meaning, each.unit) for each in waits.columns] == [
        ("step", "UTC, start of the step", "UTC"),
        ("wait_p95_ms", "within 1 %, see latency", "ms"),
        ("failure_rate", "", "0 to 1"),
    ]
    assert waits.example == "SELECT * FROM waits(from='2026-11-24', to='2026-11-25', by='')"
    assert waits.tables == {"latency_1m"}
    assert not waits.reads_rows
    assert not waits.is_part


@pytest.mark.usefixtures("described")
def test_a_view_without_a_list_of_columns_is_an_error_that_names_the_file() -> None:
    with pytest.raises(Undescribed, match=r"other\.sql: .* 0 items that begin with 'Columns:'"):
        view("other")


def test_every_view_is_described() -> None:
    view.cache_clear()
    assert all(each.question.endswith(("?", "(A part of other views.)")) for each in views())
