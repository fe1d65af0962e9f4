"""The embedded server against clients that want more than answers, and against those that never finish."""

import base64
import contextlib
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from millstream.local.clickhouse import bounded_protocol
from millstream.local.clickhouse.process import EmbeddedClickHouse

Ask = Callable[..., httpx.Response]
SECRET_FILE_TEXT = "the-content-of-a-file"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    """A server as `millstream up` starts it, with a password of its own making."""
    with EmbeddedClickHouse(tmp_path_factory.mktemp("hostile")) as running:
        yield running


@pytest.fixture
def ask(server: EmbeddedClickHouse) -> Ask:
    """Sends a query with the password."""

    def send(query: str, method: str = "POST", **parameters: str) -> httpx.Response:
        key = {"X-ClickHouse-Key": server.password}
        if method == "GET":
            return httpx.get(server.url, params={"query": query, **parameters}, headers=key, timeout=30)
        return httpx.post(server.url, content=query.encode(), params=parameters, headers=key, timeout=30)

    return send


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file outside the server's folder."""
    file = tmp_path / "outside.txt"
    file.write_text(SECRET_FILE_TEXT)
    return file


class TestPassword:
    def test_it_is_made_once_and_only_its_owner_can_read_it(self, server: EmbeddedClickHouse, tmp_path: Path) -> None:
        first = EmbeddedClickHouse(tmp_path).password
        assert len(first) > 20 and EmbeddedClickHouse(tmp_path).password == first != server.password
        assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_nothing_is_answered_without_it(self, server: EmbeddedClickHouse, method: str) -> None:
        wrong = {"X-ClickHouse-Key": "wrong"}
        for headers in ({}, wrong, {"Authorization": "Basic " + base64.b64encode(b"default:wrong").decode()}):
            answer = httpx.request(method, server.url, params={"query": "SELECT 1"}, headers=headers)
            assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")

    def test_it_opens_in_each_way_that_a_server_knows(self, server: EmbeddedClickHouse) -> None:
        for given in (
            {"headers": {"X-ClickHouse-User": "default", "X-ClickHouse-Key": server.password}},
            {"auth": ("default", server.password)},
            {"params": {"query": "SELECT 1", "user": "default", "password": server.password}},
        ):
            arguments: dict[str, object] = {"params": {"query": "SELECT 1"}, **given}
            assert httpx.get(server.url, **arguments).text == "1\n"  # type: ignore[arg-type]

    def test_no_argument_of_the_process_shows_it(self, server: EmbeddedClickHouse) -> None:
        assert server.password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


class TestWebPages:
    def test_a_form_of_a_foreign_page_runs_nothing(self, server: EmbeddedClickHouse, ask: Ask) -> None:
        foreign = {
            "Content-Type": "text/plain",
            "Origin": "http://evil.example",
            "X-ClickHouse-Key": server.password,
        }
        for headers in (foreign, {**foreign, "Host": "evil.example:8123"}, {**foreign, "Sec-Fetch-Site": "cross-site"}):
            answer = httpx.post(
                server.url, content="CREATE TABLE default.forged (a Int8) ENGINE = Memory", headers=headers
            )
            assert answer.status_code == 403
        assert ask("EXISTS default.forged").text == "0\n"

    def test_a_name_that_resolves_to_this_machine_is_not_enough(self, server: EmbeddedClickHouse) -> None:
        headers = {"Host": "evil.example", "X-ClickHouse-Key": server.password}
        assert httpx.get(server.url, params={"query": "SELECT 1"}, headers=headers).status_code == 403


WAYS_OUT = [
    "SELECT * FROM file('{file}', 'LineAsString')",
    "SELECT * FROM FiLe/**/('{file}', 'LineAsString')",
    "SELECT * FROM `file`('{file}', 'LineAsString')",
    "SELECT * FROM `fi\\x6ce`('{file}', 'LineAsString')",
    "SELECT * FROM “file”('{file}', 'LineAsString')",
    "SELECT * FROM `{file}`",
    'SELECT * FROM default."{file}"',
    "SELECT file('{file}')",
    "SELECT * APPLY(file) FROM (SELECT '{file}')",
    "SELECT * APPLY file FROM (SELECT '{file}')",
    "SELECT arrayMap(x -> file(x), ['{file}'])",
    "SELECT $$ ' $$ FROM file('{file}', 'LineAsString') -- '",
    "SELECT 1 // '\n, file('{file}') -- '",
    "SELECT 1 # '\n, file('{file}') -- '",
    "SELECT ‘ ' ’, file('{file}') -- '",
    "SELECT x'41', file('{file}')",
    "SELECT * FROM view(SELECT file('{file}'))",
    "WITH (SELECT file('{file}')) AS f SELECT f",
    "DESCRIBE file('{file}')",
    "SELECT * FROM filesystem('{folder}')",
    "SELECT 1 AS a FORMAT Template SETTINGS format_template_row = '{file}'",
    "CREATE TABLE default.f (a String) ENGINE = File(LineAsString, '{file}')",
    "CREATE TABLE default.f (a String) ENGINE File(LineAsString, '{file}')",
    "CREATE DATABASE f ENGINE = Filesystem('{folder}')",
    "CREATE TABLE default.f (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(path = '{folder}/')",
    "CREATE DICTIONARY default.f (a String) PRIMARY KEY a SOURCE(FILE(path '{file}' format 'CSV')) LAYOUT(FLAT())",
    "CREATE FUNCTION leak AS x -> file(x)",
    "INSERT INTO default.kept FROM INFILE '{file}' FORMAT LineAsString",
    "INSERT INTO default.kept FROM INFILE '{file}' // FORMAT LineAsString\n",
    "INSERT INTO default.kept /* */ FROM INFILE '{file}' FORMAT CSV ",
    "SELECT 'written' INTO OUTFILE '{written}'",
    "WITH 1 AS a SELECT a INTO OUTFILE '{written}' FORMAT CSV",
    "INSERT INTO FUNCTION file('{written}', 'CSV', 'a String') SELECT 'written'",
    "INSERT INTO TABLE FUNCTION file('{written}', 'CSV', 'a String') VALUES ('written')",
    "BACKUP TABLE default.kept TO File('{written}')",
    "SELECT * FROM url('http://127.0.0.1:{port}/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM python('os')",
    "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1",
    "SELECT * FROM s3('http://127.0.0.1:{port}/b/k', 'CSV')",
    "ATTACH TABLE default.f FROM '{folder}' (a Int8) ENGINE = Memory",
    "SYSTEM SHUTDOWN",
    "SYSTEM KILL",
    "SET dialect = 'kusto'",
]


def test_no_statement_reads_or_writes_outside_the_folder_or_reaches_the_network(ask: Ask, outside: Path) -> None:
    ask("CREATE TABLE IF NOT EXISTS default.kept (a String) ENGINE = Memory").raise_for_status()
    written = outside.with_name("written")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        for way in WAYS_OUT:
            port = str(listener.getsockname()[1])
            text = way.format(file=outside, folder=outside.parent, written=written, port=port)
            answer = ask(text)
            assert answer.status_code >= 400, text
            assert SECRET_FILE_TEXT not in answer.text, text
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not written.exists()
    assert ask("SELECT count() FROM default.kept").text == "0\n"
    assert ask("SELECT 1").text == "1\n"


def test_no_parameter_or_setting_of_a_request_is_a_way_out(ask: Ask, outside: Path) -> None:
    for query, parameters in (
        ("SELECT * FROM {f:Identifier}", {"param_f": str(outside)}),
        ("SELECT * FROM {f:Identifier}('x')", {"param_f": "file"}),
        ("SELECT 1 AS a FORMAT Template", {"format_template_row": str(outside)}),
        ("SELECT 1", {"database": "a`; SELECT file('/etc/passwd'); --"}),
        ("SELECT 1", {"log_comment": "a'; SELECT 1 INTO OUTFILE 'x' --", "max_threads": "nonsense"}),
        ("SELECT 1", {"dialect": "kusto"}),
    ):
        answer = ask(query, **parameters)
        assert answer.status_code >= 400 and SECRET_FILE_TEXT not in answer.text, query


def test_what_only_looks_like_a_way_out_runs(ask: Ask) -> None:
    assert ask("SELECT 'file(1) INTO OUTFILE url(2)', length('a`b')").text == "file(1) INTO OUTFILE url(2)\t3\n"
    assert ask("SELECT sum(number) FROM numbers(5) -- file('x')").text == "10\n"
    ask("CREATE TABLE default.visits (url String, file String) ENGINE = MergeTree ORDER BY url").raise_for_status()
    ask("INSERT INTO default.visits (url, file) FORMAT CSV\nu,f\n").raise_for_status()
    assert ask("SELECT url, file FROM default.visits WHERE url = 'u' FORMAT CSV").text == '"u","f"\n'
    ask("DROP TABLE default.visits SYNC").raise_for_status()


def test_tables_of_the_default_database_survive_a_restart(tmp_path: Path) -> None:
    for start in range(2):
        with EmbeddedClickHouse(tmp_path, password="") as server:
            if start == 0:
                created = "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a"
                httpx.post(server.url, content=created).raise_for_status()
            httpx.post(server.url, content=f"INSERT INTO t VALUES ({start})").raise_for_status()
            assert httpx.post(server.url, content="SELECT count() FROM t").text == f"{start + 1}\n"


def test_it_starts_again_when_the_default_database_has_no_tables(tmp_path: Path) -> None:
    server = EmbeddedClickHouse(tmp_path, password="")
    server.start()
    httpx.post(server.url, content="CREATE DATABASE other").raise_for_status()
    for end in (server.stop, server.kill, server.stop):
        end()
        server.start()
        assert httpx.post(server.url, content="EXISTS DATABASE other").text == "1\n"
    server.stop()


def test_the_kernel_confines_the_process_where_it_can(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text(SECRET_FILE_TEXT)
    program = f"""
import pathlib, socket, sys
from millstream.local.clickhouse.confinement import confine
if not confine(pathlib.Path({str(inside)!r})):
    sys.exit(77)
pathlib.Path({str(inside / "kept")!r}).write_text("kept")
def refused(call):
    try:
        call()
    except PermissionError:
        return
    sys.exit("not refused")
refused(lambda: pathlib.Path({str(outside)!r}).read_text())
refused(lambda: pathlib.Path({str(outside)!r}).write_text("x"))
refused(lambda: pathlib.Path({str(tmp_path / "new")!r}).write_text("x"))
refused(lambda: socket.create_connection(("127.0.0.1", 9)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/")
    if done.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert done.returncode == 0, done.stderr
    assert (inside / "kept").read_text() == "kept" and outside.read_text() == SECRET_FILE_TEXT


class TestUnfinishedRequests:
    @pytest.fixture
    def half_open(self, server: EmbeddedClickHouse) -> Iterator[Callable[[bytes], socket.socket]]:
        """Sends a part of a request on a connection that stays open."""
        port = int(server.url.rsplit(":", 1)[1])
        opened: list[socket.socket] = []

        def send(part: bytes) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port))
            opened.append(connection)
            connection.sendall(part)
            return connection

        yield send
        for each in opened:
            each.close()

    def test_bodies_that_never_end_hold_no_thread_of_a_query(
        self,
        half_open: Callable[[bytes], socket.socket],
        server: EmbeddedClickHouse,
        ask: Ask,
    ) -> None:
        head = (
            f"POST /?query=INSERT%20INTO%20default.x%20FORMAT%20CSV HTTP/1.1\r\nHost: localhost\r\n"
            f"X-ClickHouse-Key: {server.password}\r\nContent-Length: 100000\r\n\r\n1"
        )
        for _ in range(100):
            half_open(head.encode())
        begun = time.monotonic()
        assert ask("SELECT 1").text == "1\n"
        assert time.monotonic() - begun < 10

    def test_a_body_without_the_password_is_not_waited_for(self, half_open: Callable[[bytes], socket.socket]) -> None:
        connection = half_open(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nSELECT")
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 403")

    def test_too_many_connections_are_answered_503_and_those_that_say_nothing_are_closed(
        self,
        half_open: Callable[[bytes], socket.socket],
        server: EmbeddedClickHouse,
        ask: Ask,
    ) -> None:
        silent = [half_open(b"GET /ping HTTP/1.1\r\nX-A: ") for _ in range(300)]
        assert httpx.get(f"{server.url}/ping").status_code == 503
        silent[0].settimeout(bounded_protocol.HEAD_WITHIN_S + 20)
        assert silent[0].recv(100).startswith(b"HTTP/1.1 408")
        deadline = time.monotonic() + 20
        while ask("SELECT 1").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"GET /?query=" + b"a" * 600_000, b"414"),
            (b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 600_000, b"431"),
            (b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n", b"431"),
            (b"GET /?query=" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
            (b"nonsense\r\n\r\n", b"400"),
        ],
    )
    def test_what_is_too_long_is_named(
        self, half_open: Callable[[bytes], socket.socket], sent: bytes, status: bytes
    ) -> None:
        port_reader: list[bytes] = []
        connection = half_open(b"")
        connection.settimeout(20)
        reader = threading.Thread(target=lambda: port_reader.append(_received(connection)))
        reader.start()
        # It may be answered, and the connection closed, before all of it was sent.
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        reader.join(20)
        assert port_reader[0][9:12] in (status, b""), port_reader


@pytest.mark.parametrize("timeout", ["nan", "inf", "-1", "1e3", "3601", "x", "", "٣"])
def test_a_session_timeout_that_is_no_number_of_seconds_is_an_error_of_the_client(ask: Ask, timeout: str) -> None:
    answer = ask("SELECT 1", session_id="s", session_timeout=timeout)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "374")
    assert ask("SELECT 1", session_id="s", session_timeout="3600").text == "1\n"


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except OSError:
        return b""
