"""A spreadsheet that opens our CSV runs nothing, and no value is changed that is no formula."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from millstream.formulas import FormulaGuard

CELLS = st.one_of(
    st.integers(-9, 9),
    st.text(alphabet="\"=+-@,\n\r\ta'", max_size=8),
)


def written(rows: list[list[str | int]]) -> bytes:
    """As ClickHouse writes CSV: texts are quoted, numbers are not."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def defused(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 7))
def test_texts_that_are_formulas_get_an_apostrophe_however_the_stream_is_cut(
    rows: list[list[str | int]], size: int
) -> None:
    data, guard = written(rows), FormulaGuard()
    pieces = [guard.guarded(data[at : at + size]) for at in range(0, len(data), size)]
    assert b"".join(pieces) == written([[defused(value) for value in row] for row in rows])


def test_numbers_stay_numbers() -> None:
    assert FormulaGuard().guarded(b'"n","t"\n-2,"-2"\n+inf,"+x"\n') == b'"n","t"\n-2,"\'-2"\n+inf,"\'+x"\n'
