"""A table file becomes the leaves it describes, or an error that names the column."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from millstream.analytics import rca

ROWS = "minute,tenant,host,id,failed,attempts\n" + "".join(
    f"{60 * minute},{tenant},{host},{minute}-{tenant}-{host},{9 if minute == 3 and tenant == 'b' else 1},20\n"
    for minute in range(4)
    for tenant in "ab"
    for host in range(10)
)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_each_form_of_a_table_gives_the_same_answer(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"rows.{form}"
    if form == "csv":
        path.write_text(ROWS)
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(ROWS.encode()))
    else:
        header, *lines = (line.split(",") for line in ROWS.splitlines())
        columns = {name: [line[index] for line in lines] for index, name in enumerate(header)}
        pyarrow.parquet.write_table(pa.table(columns), path)
    table = rca.read_table(path)
    assert table.left_out == {"id": "an id: 80 values in 80 rows"}
    found = rca.attribute(table.leaves())
    assert [finding.dimensions for finding in found.findings] == [{"tenant": "b"}]
    assert found.now == rca.Counts(100, 400)


def test_later_rows_take_no_part_and_nearer_ones_weigh_more(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("time,tenant,value,cnt\n0,a,10,10\n60,b,0,10\n120,a,5,10\n180,b,9,9\n")
    leaves = rca.read_table(path).leaves(120)
    assert leaves.bad_now.sum() == 5
    assert leaves.bad_before.sum() == pytest.approx(10 * 0.7)
    assert leaves.of_before.sum() == pytest.approx(10 * 0.7 + 10)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("tenant,value\na,1\nb,2\n", "no column 'time, min, minute, .*; columns: tenant, value"),
        ("time,tenant,value\n1,a,x\n2,b,1\n", "column 'value': .*'x'"),
        ("time,tenant,value\n1,a,1\n2,b,-3\n", "row 2, column 'value': -3.0 is negative or no number"),
        ("time,tenant,value\nlate,a,1\n2,b,3\n", "column 'time': neither seconds since 1970 nor ISO times"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(rca.UnreadableTable, match=error):
        rca.read_table(path)


def test_a_window_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    with pytest.raises(rca.UnreadableTable, match="no row is in the window 1970-01-01 00:16:40 UTC"):
        rca.read_table(path).leaves(1000)
