"""A query that gives a view too few parameters is told of all that are missing."""

import pytest

from millstream.analytics.warehouse.catalogue import view, views
from millstream.cli.query_hints import missing_parameters


@pytest.mark.parametrize(
    ("query", "needs"),
    [
        ("SELECT * FROM failures(from='a', to='b')", ""),
        ("SELECT * FROM failures(from = 'a')", "failures needs to too"),
        ("SELECT * FROM millstream.failures", "failures needs from, to too"),
        ("select count() from failures( ) where x", "failures needs from, to too"),
        ("SELECT * FROM job_attempts WHERE error_type = 'x'", ""),
        ("SELECT * FROM failures(from=toDateTime('a'), to=now()) JOIN throughput(from='a', to='b')", "step_seconds"),
        ("SELECT * FROM failures(from='a', to='b') WHERE from = 1 AND to = 2", ""),
        ("", ""),
    ],
)
def test_what_is_missing(query: str, needs: str) -> None:
    said = missing_parameters(query, views())
    assert needs in said and bool(said) == bool(needs)


def test_the_parameters_of_a_view_with_many_are_all_named_with_an_example_that_has_them() -> None:
    said = missing_parameters("SELECT * FROM job_list(from='a', to='b')", views())
    missing = [name for name in view("job_list").parameters if name not in ("from", "to")]
    assert missing and all(name in said.partition(";")[0] for name in missing)
    assert view("job_list").example in said


def test_the_example_of_every_view_has_all_of_its_parameters() -> None:
    for each in views():
        assert missing_parameters(each.example, views()) == "", each.name
