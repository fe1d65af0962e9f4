"""The prompt completes what the database and the views have, and explains views."""

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from millstream.analytics.warehouse.catalogue import views
from millstream.cli.sql_prompt import SqlCompleter, described

COMPLETER = SqlCompleter(["job_events", "job_attempts", "quantile"], views())


def completed(text: str) -> list[str]:
    return [each.text for each in COMPLETER.get_completions(Document(text), CompleteEvent(completion_requested=True))]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("SELECT count() FROM job_e", "job_events"),
        ("sel", "SELECT"),
        ("SELECT quant", "quantile"),
        ("SELECT * FROM slo_b", "slo_burn_rate("),
        ("SELECT * FROM failure_rate(", "step_seconds="),
        ("SELECT * FROM failure_rate(from='2026-11-24 10:00:00', st", "step_seconds="),
        ("SELECT * FROM failures(from='a', to='b') WHERE ten", None),
    ],
)
def test_what_is_offered(typed: str, offered: str | None) -> None:
    found = completed(typed)
    assert (offered in found) if offered else not any(text.endswith("=") for text in found)


def test_a_parameter_that_is_given_is_not_offered_again() -> None:
    assert set(completed("SELECT * FROM failure_rate(from='a', ")) == {"to=", "step_seconds=", "by="}


def test_a_view_is_explained_with_its_example_and_an_unknown_one_is_an_error() -> None:
    assert "How fast is the error budget" in described("slo_burn_rate")
    assert "SELECT * FROM slo_burn_rate(" in described("slo_burn_rate")
    assert "tenant_summary" in described("")
    assert "there is no view 'nothing'" in described("nothing")
