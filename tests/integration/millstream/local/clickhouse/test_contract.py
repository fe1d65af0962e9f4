"""What the rest of the project relies on in ClickHouse's HTTP interface.

Runs on the embedded engine, and on a real server when MILLSTREAM_TEST_CLICKHOUSE_URL names one: both must pass.
"""

import gzip
import json
import shutil
import subprocess
import threading
import uuid
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import lz4.frame
import pytest
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from millstream import analytics
from millstream.local.clickhouse.compression import zstd  # type: ignore[attr-defined]


@pytest.fixture
def database(clickhouse_url: str) -> Iterator[str]:
    name = f"c{uuid.uuid4().hex[:8]}"
    httpx.post(clickhouse_url, content=f"CREATE DATABASE {name}").raise_for_status()
    yield name
    httpx.post(clickhouse_url, content=f"DROP DATABASE {name} SYNC").raise_for_status()


@pytest.fixture
def client(clickhouse_url: str, database: str) -> Iterator[Client]:
    connected = analytics.connect(clickhouse_url, database=database)
    yield connected
    connected.close()


def ask(url: str, body: str, /, **parameters: str) -> httpx.Response:
    """Post a body (a query, or the data of the `query` in the parameters)."""
    return httpx.post(url, params=parameters, content=body, timeout=60)


class TestPlainHttp:
    def test_ping(self, clickhouse_url: str) -> None:
        assert httpx.get(f"{clickhouse_url}/ping").text == "Ok.\n"
        assert httpx.get(clickhouse_url).text == "Ok.\n"

    def test_a_query_comes_by_get_by_body_or_by_both(self, clickhouse_url: str) -> None:
        assert httpx.get(clickhouse_url, params={"query": "SELECT 1"}).text == "1\n"
        assert ask(clickhouse_url, "SELECT 1").text == "1\n"
        assert ask(clickhouse_url, "AS x", query="SELECT 2").text == "2\n"

    def test_get_cannot_change_anything(self, clickhouse_url: str, database: str) -> None:
        answer = httpx.get(clickhouse_url, params={"query": f"CREATE TABLE {database}.t (a Int8) ENGINE = Memory"})
        assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
        assert "READONLY" in answer.text

    @pytest.mark.parametrize(
        ("output", "text"),
        [
            ("JSONEachRow", '{"a":1,"b":"x"}\n'),
            ("CSVWithNames", '"a","b"\n1,"x"\n'),
            ("TabSeparated", "1\tx\n"),
            ("TSVWithNames", "a\tb\n1\tx\n"),
        ],
    )
    def test_formats_by_statement_and_by_default(self, clickhouse_url: str, output: str, text: str) -> None:
        query = "SELECT 1 AS a, 'x' AS b"
        assert ask(clickhouse_url, f"{query} FORMAT {output}").text == text
        answer = ask(clickhouse_url, query, default_format=output)
        assert answer.text == text
        assert answer.headers["X-ClickHouse-Format"] == output

    def test_a_format_with_header_and_footer_is_one_document_however_long(self, clickhouse_url: str) -> None:
        found = ask(clickhouse_url, "SELECT number FROM numbers(200000) FORMAT JSON").json()
        assert found["rows"] == len(found["data"]) == 200_000
        lines = ask(clickhouse_url, "SELECT number AS n FROM numbers(200000) FORMAT CSVWithNames").text.splitlines()
        assert lines[0] == '"n"' and lines.count('"n"') == 1 and len(lines) == 200_001

    def test_parameters_are_bound_and_not_pasted(self, clickhouse_url: str) -> None:
        text = "a'b\\\\c -- {y:String}"
        answer = ask(clickhouse_url, "SELECT {x:String}, {n:UInt32}, {l:Array(String)} FORMAT JSONCompactEachRow",
                     param_x=text, param_n="7", param_l="['p','q']")  # fmt: skip
        assert json.loads(answer.text) == ["a'b\\c -- {y:String}", 7, ["p", "q"]]
        missing = ask(clickhouse_url, "SELECT {x:String}")
        assert missing.headers["X-ClickHouse-Exception-Code"] == "456"
        wrong = ask(clickhouse_url, "SELECT {n:UInt32}", param_n="seven")
        assert wrong.headers["X-ClickHouse-Exception-Code"] == "457"

    def test_settings_of_a_request_hold_for_it_alone(self, clickhouse_url: str) -> None:
        query = "SELECT getSetting('max_block_size')"
        usual = ask(clickhouse_url, query).text
        assert ask(clickhouse_url, query, max_block_size="1234").text == "1234\n"
        assert ask(clickhouse_url, query).text == usual
        assert ask(clickhouse_url, query, no_such_setting="1").headers["X-ClickHouse-Exception-Code"] == "115"

    def test_the_database_of_a_request(self, clickhouse_url: str, database: str) -> None:
        assert ask(clickhouse_url, "SELECT currentDatabase()", database=database).text.strip() == database
        header = {"X-ClickHouse-Database": database}
        assert httpx.post(clickhouse_url, content="SELECT currentDatabase()", headers=header).text.strip() == database
        assert ask(clickhouse_url, "SELECT 1", database="nowhere").headers["X-ClickHouse-Exception-Code"] == "81"

    @pytest.mark.parametrize(
        ("query", "status", "code"),
        [
            ("SELEC 1", 400, 62),
            ("SELECT * FROM no_such_table", 404, 60),
            ("SELECT no_such_column", 404, 47),
            ("SELECT no_such_function()", 404, 46),
            ("SELECT throwIf(number = 3) FROM numbers(10)", 500, 395),
            ("SELECT toUInt8('x')", 400, 6),
            ("SELECT 1; SELECT 2", 400, 62),
            ("", 400, 62),
        ],
    )
    def test_errors_have_their_code_and_status(self, clickhouse_url: str, query: str, status: int, code: int) -> None:
        answer = ask(clickhouse_url, query)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")

    def test_an_insert_takes_its_data_from_the_body_after_url_or_statement(
        self, clickhouse_url: str, database: str
    ) -> None:
        ask(clickhouse_url, "CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a", database=database)
        insert = "INSERT INTO t (a, b) SETTINGS max_threads = 1 FORMAT CSV"
        answer = ask(clickhouse_url, '1,"one"\n2,"two FORMAT TSV"\n', query=insert, database=database)
        assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
        ask(clickhouse_url, 'INSERT INTO t FORMAT JSONEachRow\n{"a": 3, "b": "three"}', database=database)
        ask(clickhouse_url, "INSERT INTO t VALUES (4, 'FORMAT CSV')", database=database)
        ask(clickhouse_url, "INSERT INTO t SELECT 5, 'five'", database=database)
        rows = ask(clickhouse_url, "SELECT * FROM t ORDER BY a FORMAT JSONCompactEachRow", database=database)
        kept = [json.loads(line)[1] for line in rows.text.splitlines()]
        assert kept == ["one", "two FORMAT TSV", "three", "FORMAT CSV", "five"]

    def test_an_insert_that_cannot_be_read_stores_nothing(self, clickhouse_url: str, database: str) -> None:
        ask(clickhouse_url, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a", database=database)
        answer = ask(clickhouse_url, "1\n2\nthree\n", query="INSERT INTO t FORMAT CSV", database=database)
        assert answer.headers["X-ClickHouse-Exception-Code"] in ("27", "117")
        assert ask(clickhouse_url, "SELECT count() FROM t", database=database).text == "0\n"

    def test_bodies_and_results_are_compressed_as_requested(self, clickhouse_url: str, database: str) -> None:
        ask(clickhouse_url, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a", database=database)
        packers = {
            "gzip": gzip.compress, "deflate": zlib.compress, "lz4": lz4.frame.compress, "zstd": zstd.compress,
        }  # fmt: skip
        for encoding, pack in packers.items():
            answer = httpx.post(
                clickhouse_url,
                params={"query": "INSERT INTO t FORMAT CSV", "database": database},
                content=pack(b"7\n8\n"),
                headers={"Content-Encoding": encoding},
            )
            assert answer.status_code == 200, answer.text
        assert ask(clickhouse_url, "SELECT count(), sum(a) FROM t", database=database).text == "8\t60\n"
        unpackers = {"gzip": gzip.decompress, "lz4": lz4.frame.decompress, "zstd": zstd.decompress}
        for encoding, unpack in unpackers.items():
            with httpx.stream(
                "POST",
                clickhouse_url,
                params={"enable_http_compression": "1"},
                content="SELECT number FROM numbers(300000)",
                headers={"Accept-Encoding": encoding},
            ) as packed:
                assert packed.headers["Content-Encoding"] == encoding
                raw = b"".join(packed.iter_raw())
            assert unpack(raw).count(b"\n") == 300_000

    def test_a_body_of_several_frames_is_read_whole(self, clickhouse_url: str, database: str) -> None:
        ask(clickhouse_url, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a", database=database)
        for encoding, pack in {"lz4": lz4.frame.compress, "zstd": zstd.compress, "gzip": gzip.compress}.items():
            frames = [pack(b"".join(b"%d\n" % n for n in range(part, part + 1000))) for part in range(0, 50_000, 1000)]
            answer = httpx.post(
                clickhouse_url,
                params={"query": "INSERT INTO t FORMAT CSV", "database": database},
                content=iter(frames),
                headers={"Content-Encoding": encoding},
            )
            assert answer.status_code == 200, answer.text
        assert ask(clickhouse_url, "SELECT count(), uniqExact(a) FROM t", database=database).text == "150000\t50000\n"

    def test_an_error_after_parsing_is_reported(self, clickhouse_url: str, database: str) -> None:
        ask(
            clickhouse_url,
            "CREATE TABLE t (a UInt64, b UInt64 DEFAULT a + throwIf(a = 3, 'three is refused')) "
            "ENGINE = MergeTree ORDER BY a",
            database=database,
        )
        answer = ask(clickhouse_url, "1\n2\n3\n", query="INSERT INTO t (a) FORMAT CSV", database=database)
        assert "three is refused" in answer.text
        assert ask(clickhouse_url, "SELECT count() FROM t", database=database).text == "0\n"

    def test_a_damaged_body_is_an_error(self, clickhouse_url: str) -> None:
        headers = {"Content-Encoding": "gzip"}
        answer = httpx.post(clickhouse_url, content=gzip.compress(b"SELECT 1")[:-6], headers=headers)
        assert answer.status_code >= 400

    def test_sessions_keep_settings_and_temporary_tables(self, clickhouse_url: str) -> None:
        session = {"session_id": f"s{uuid.uuid4().hex}"}
        ask(clickhouse_url, "CREATE TEMPORARY TABLE kept (a Int8)", **session)
        ask(clickhouse_url, "INSERT INTO kept VALUES (1), (2)", **session)
        assert ask(clickhouse_url, "SELECT count() FROM kept", **session).text == "2\n"
        assert ask(clickhouse_url, "SELECT count() FROM kept").headers["X-ClickHouse-Exception-Code"] == "60"
        unknown = ask(clickhouse_url, "SELECT 1", session_id=f"s{uuid.uuid4().hex}", session_check="1")
        assert unknown.headers["X-ClickHouse-Exception-Code"] == "372"

    def test_a_session_answers_one_query_at_a_time(self, clickhouse_url: str) -> None:
        session = {"session_id": f"s{uuid.uuid4().hex}"}
        # Which of the two is first does not matter: the other one is refused.
        with ThreadPoolExecutor(2) as clients:
            answers = list(clients.map(lambda query: ask(clickhouse_url, query, **session), ["SELECT sleep(1.5)"] * 2))
        codes = [answer.headers.get("X-ClickHouse-Exception-Code") for answer in answers]
        assert sorted(codes, key=str) == ["373", None]

    def test_curl_sees_clickhouse(self, clickhouse_url: str) -> None:
        if not shutil.which("curl"):
            pytest.skip("curl is not installed")
        argv = ["curl", "--silent", "--fail", clickhouse_url, "--data-binary", "SELECT 'by curl'"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "by curl\n"


class TestClickHouseConnect:
    def test_values_of_every_kind_survive_both_ways(self, client: Client) -> None:
        client.command(
            "CREATE TABLE t (i Int64, f Float64, s String, n Nullable(String), l LowCardinality(String),"
            " a Array(UInt8), m Map(String, String), u UUID, d DateTime64(6, 'UTC'), b Bool)"
            " ENGINE = MergeTree ORDER BY i"
        )
        moment = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
        kept = [1, 0.5, "it's \n ü", None, "low", [1, 2], {"k": "v"}, uuid.uuid4(), moment, True]
        summary = client.insert("t", [kept])
        assert summary.written_rows == 1
        (row,) = client.query("SELECT * FROM t", query_tz="UTC", tz_mode="aware").result_rows
        assert list(row) == kept

    def test_bound_parameters(self, client: Client) -> None:
        text = "a'b\\c\n\t-- ü"
        result = client.query("SELECT {x:String} AS x, {y:UInt8} AS y", parameters={"x": text, "y": 7})
        assert result.result_rows == [(text, 7)]

    def test_a_million_rows_are_streamed(self, client: Client) -> None:
        total = 0
        with client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
            for block in blocks:
                total += len(block)
        assert total == 1_000_000

    def test_an_error_before_and_after_the_first_rows_is_raised(self, client: Client) -> None:
        with pytest.raises(DatabaseError, match="no_such"):
            client.query("SELECT * FROM no_such")
        with pytest.raises((DatabaseError, StreamFailureError), match="throwIf"):
            assert client.query("SELECT number, throwIf(number = 4900000) FROM numbers(5000000)").result_rows

    def test_a_repeated_insert_with_the_same_token_is_dropped_and_one_without_is_not(self, client: Client) -> None:
        client.command(
            "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"
        )
        for token in ("one", "one", "two"):
            client.raw_insert("t", ["a"], b"1\n2\n", settings={"insert_deduplication_token": token}, fmt="CSV")
        assert client.command("SELECT count() FROM t") == 4

    def test_many_queries_run_side_by_side(self, client: Client) -> None:
        answers: list[object] = []
        query = "SELECT sum(sipHash64(number)) FROM numbers(2000000)"
        threads = [threading.Thread(target=lambda: answers.append(client.command(query))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(answers) == 8 and len(set(answers)) == 1

    def test_parquet_and_arrow_come_whole(self, client: Client) -> None:
        parquet = client.raw_query("SELECT number FROM numbers(1000)", fmt="Parquet")
        assert parquet[:4] == parquet[-4:] == b"PAR1"
        arrow = client.raw_query("SELECT number FROM numbers(1000)", fmt="Arrow")
        assert arrow[:6] == arrow[-6:] == b"ARROW1"

    def test_the_server_reports_its_identity(self, client: Client, clickhouse_url: str) -> None:
        assert client.server_version
        address = httpx.URL(clickhouse_url)
        assert get_client(host=address.host, port=address.port).command("SELECT timezone()")
