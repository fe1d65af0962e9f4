"""The embedded server as a process: who may reach it, what survives, how much memory it takes."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.ports import free_port
from millstream.local.process import ChildProcess, DidNotStart


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedClickHouse]:
    with EmbeddedClickHouse(tmp_path / "data", password="") as running:
        yield running


def ask(url: str, query: str, **parameters: str) -> str:
    answer = httpx.post(url, params=parameters, content=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_what_was_acknowledged_survives_kill_9(server: EmbeddedClickHouse) -> None:
    ask(server.url, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    for part in range(20):
        ask(server.url, f"INSERT INTO t SELECT number FROM numbers({part * 100}, 100)")
    url = server.url
    server.kill()
    server.start()
    assert server.url == url
    assert ask(server.url, "SELECT count(), uniqExact(a) FROM t") == "2000\t2000\n"


def test_it_looks_at_its_memory_once_a_second_and_not_twenty_times(server: EmbeddedClickHouse) -> None:
    query = "SELECT value FROM system.server_settings WHERE name = 'memory_worker_period_ms'"
    assert ask(server.url, query) == "1000\n"


def test_a_second_server_on_the_same_folder_is_refused_and_names_the_first(
    server: EmbeddedClickHouse, tmp_path: Path
) -> None:
    with pytest.raises(DidNotStart, match=f"served by process {server.pid}"):
        EmbeddedClickHouse(tmp_path / "data", port=free_port()).start()
    assert ask(server.url, "SELECT 1") == "1\n"


def test_it_does_not_listen_beyond_loopback_without_a_password(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "millstream.local.clickhouse", "--path", str(tmp_path), "--host", "0.0.0.0"]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "without a password" in refused.stderr


def test_with_a_password_requests_without_it_are_rejected(tmp_path: Path) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "millstream.local.clickhouse", "--path", str(tmp_path), "--port", str(port)]
    secret = uuid.uuid4().hex
    process = ChildProcess([*argv, "--password-env", "SECRET"], env={**os.environ, "SECRET": secret})
    url = f"http://127.0.0.1:{port}"
    with process:
        while "ready http" not in process.tail:
            assert process.is_alive(), process.tail
        denied = httpx.post(url, content="SELECT 1")
        assert (denied.status_code, denied.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert httpx.post(url, content="SELECT 1", headers={"X-ClickHouse-Key": "wrong"}).status_code == 403
        assert httpx.post(url, content="SELECT 1", auth=("default", secret)).text == "1\n"
        assert httpx.post(url, content="SELECT 1", headers={"X-ClickHouse-Key": secret}).text == "1\n"
        assert httpx.post(url, content="SELECT 1", params={"password": secret}).text == "1\n"


def test_a_long_result_is_never_held_whole(server: EmbeddedClickHouse) -> None:
    process = psutil.Process(server.pid)
    ask(server.url, "SELECT number FROM numbers(1000000) FORMAT Null")
    before, most, size = process.memory_info().rss, 0, 0
    query = "SELECT number, toString(number) FROM numbers(25000000)"
    with httpx.stream("POST", server.url, content=query, timeout=60) as answer:
        for piece in answer.iter_raw(1 << 20):
            size += len(piece)
            most = max(most, process.memory_info().rss)
    assert size > 400_000_000
    assert most - before < 200_000_000


def test_a_long_insert_is_never_held_whole(server: EmbeddedClickHouse) -> None:
    ask(server.url, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    most = before

    def body() -> Iterator[bytes]:
        nonlocal most
        for part in range(200):
            most = max(most, process.memory_info().rss)
            yield b"".join(b"%d,%d-%s\n" % (part * 10_000 + row, row, b"x" * 60) for row in range(10_000))

    answer = httpx.post(server.url, params={"query": "INSERT INTO t FORMAT CSV"}, content=body(), timeout=120)
    assert answer.status_code == 200, answer.text
    assert ask(server.url, "SELECT count() FROM t") == "2000000\n"
    assert most - before < 400_000_000


def test_a_client_that_leaves_ends_its_query(server: EmbeddedClickHouse) -> None:
    with httpx.stream("POST", server.url, content="SELECT number FROM numbers(100000000000)", timeout=60) as answer:
        next(answer.iter_raw(1 << 20))
    for _ in range(200):
        if ask(server.url, "SELECT count() FROM system.processes WHERE query LIKE '%100000000000%'") == "1\n":
            # Only the question itself speaks of it.
            return
    raise AssertionError("the query still runs")


def test_an_error_that_quotes_bytes_which_are_not_utf8_has_its_code_and_text(server: EmbeddedClickHouse) -> None:
    ask(server.url, "CREATE TABLE t (u UUID) ENGINE = Null")
    for values in (b"VALUES ('\xb9bad')", b"FORMAT CSV\n\xb9bad\n", b"FORMAT TSV\n" + b"\xb9" * 36 + b"\n"):
        answer = httpx.post(server.url, content=b"INSERT INTO t " + values, timeout=60)
        assert answer.status_code >= 400
        assert int(answer.headers["X-ClickHouse-Exception-Code"]) > 0
        assert answer.text.startswith("Code: ")
