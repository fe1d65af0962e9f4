"""Where a statement's inline data begins, and which format it names."""

import pytest

from millstream.local.clickhouse.statement import output_format, parse_insert, reads


@pytest.mark.parametrize(
    ("text", "into", "settings", "name", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "", "CSV", b"1,2\n"),
        (
            b"insert into t (a, `format`) format Native\n\x00\xff",
            "insert into t (a, `format`) ",
            "",
            "Native",
            b"\x00\xff",
        ),
        (b"INSERT INTO t SETTINGS x = 1 FORMAT Avro\nObj", "INSERT INTO t ", "SETTINGS x = 1 ", "Avro", b"Obj"),
        (b"-- FORMAT CSV\nINSERT INTO t FORMAT TSV ", "-- FORMAT CSV\nINSERT INTO t ", "", "TSV", b""),
        (b'INSERT INTO t FORMAT JSONEachRow {"a": 1}', "INSERT INTO t ", "", "JSONEachRow", b'{"a": 1}'),
    ],
)
def test_an_insert_with_data_is_taken_apart(text: bytes, into: str, settings: str, name: str, data: bytes) -> None:
    found = parse_insert(text)
    assert found is not None
    assert (found.into, found.settings, found.input_format, found.data) == (into, settings, name, data)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t SELECT * FROM s FORMAT CSV",
        b"CREATE TABLE t (a String DEFAULT 'INSERT INTO x FORMAT CSV') ENGINE = Memory",
        b"INSERT INTO t FORMAT Values (1)",
        b"",
    ],
)
def test_any_other_statement_is_left_whole(text: bytes) -> None:
    assert parse_insert(text) is None


def test_a_path_cannot_break_out_of_the_statement() -> None:
    found = parse_insert(b"INSERT INTO t FORMAT CSV\n")
    assert found is not None
    assert "FROM INFILE '/a\\'b' COMPRESSION 'none'" in found.from_file("/a'b")


def test_the_output_format_is_the_one_outside_brackets_and_strings() -> None:
    assert output_format("SELECT 'FORMAT CSV' AS x FORMAT JSON", "TSV") == "JSON"
    assert output_format("SELECT * FROM (SELECT 1 FORMAT CSV)", "TSV") == "TSV"
    assert output_format("SELECT 1 -- FORMAT CSV", "TSV") == "TSV"


def test_only_selects_are_streamed() -> None:
    assert reads("/* why */ with x as (select 1) select * from x")
    assert reads("SELECT 1")
    assert not reads("SHOW TABLES")
    assert not reads("")
