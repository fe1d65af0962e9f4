"""Which requests the embedded server lets in: none of a web page, none to a name that is not its own."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from millstream.local.clickhouse.gate import LONGEST_ADDRESS, LONGEST_HEADERS, Gate

OWN = "http://127.0.0.1:8123"


def status(headers: Mapping[str, str], host: str = "127.0.0.1", names: tuple[str, ...] = (), query: str = "") -> int:
    given = {"Host": "127.0.0.1:8123", **headers}
    scope = {
        "type": "http",
        "scheme": "http",
        "method": "GET",
        "raw_path": b"/",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    answers: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        raise AssertionError("the body of a request is not read")

    async def send(message: Mapping[str, Any]) -> None:
        answers.append(message)

    asyncio.run(Gate(PlainTextResponse("answer"), host, names)(scope, receive, send))  # type: ignore[arg-type]
    return int(answers[0]["status"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:8123"},
        {"Host": "LOCALHOST"},
        {"Host": "clickhouse.localhost:1"},
        {"Host": "[::1]:8123"},
        {"Host": "127.0.0.2:8123"},
        {"Origin": OWN},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_programs_of_this_machine_are_let_in(headers: dict[str, str]) -> None:
    assert status(headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8123"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "10.0.0.1:8123"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "https://127.0.0.1:8123"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_web_page_and_a_foreign_name_are_refused(headers: dict[str, str]) -> None:
    assert status(headers) == 403


def test_names_are_added_and_any_address_is_known_where_it_listens_on_all() -> None:
    assert status({"Host": "clickhouse:8123"}, names=("ClickHouse",)) == 200
    assert status({"Host": "10.0.0.1:8123"}, host="0.0.0.0") == 200
    assert status({"Host": "evil.example"}, host="0.0.0.0") == 403


def test_an_address_and_headers_that_are_too_long_are_named() -> None:
    assert status({}, query="a" * LONGEST_ADDRESS) == 414
    assert status({"X-A": "a" * LONGEST_HEADERS}) == 431
