"""How errors are distinguished and described."""

import asyncio
import contextvars
import time
from collections import Counter
from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ValidationError

from millstream.consumers.worker.execution.metering import metered
from millstream.consumers.worker.execution.outcome import (
    MESSAGE_LENGTH,
    STACK_LENGTH,
    cancelled,
    failed,
    fingerprint,
    redacted,
)
from millstream.consumers.worker.execution.started_work import StartedWork
from millstream.redaction import Redaction


@dataclass
class Spent:
    cpu_ns: int = 0
    started: StartedWork | None = None


def charge(amount: int) -> None:
    raise ValueError(f"card declined for {amount}")


def refund() -> None:
    raise ValueError("card declined")


def caught(function: object, *arguments: object) -> Exception:
    try:
        function(*arguments)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def test_errors_of_one_cause_share_a_fingerprint_whatever_their_message() -> None:
    assert fingerprint(caught(charge, 1)) == fingerprint(caught(charge, 2))
    assert fingerprint(caught(charge, 1)) != fingerprint(caught(refund))


def test_huge_errors_are_cut_to_what_an_event_may_hold() -> None:
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        raise RuntimeError("x" * 100_000)

    reported = redacted(failed(caught(deep, 500)), Redaction()).error
    assert len(reported["error_message"]) == MESSAGE_LENGTH
    assert len(reported["stack"]) <= STACK_LENGTH
    assert reported["error_type"] == "RuntimeError"


def test_an_error_whose_text_utf_8_cannot_encode_is_escaped() -> None:
    def opens() -> None:
        raise OSError("no such file: caf\udce9.txt")

    reported = failed(caught(opens)).error
    assert reported["error_message"] == "no such file: caf\\udce9.txt"
    assert all(text.encode() for text in reported.values())


def test_an_error_whose_text_cannot_be_made_is_reported() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise KeyError("no text")

    def fails() -> None:
        raise Unspeakable

    reported = failed(caught(fails)).error
    assert reported["error_type"].endswith("Unspeakable")
    assert "__str__ raised KeyError" in reported["error_message"]


async def test_only_a_coroutines_own_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    spent_ns = 0
    monkeypatch.setattr(time, "thread_time_ns", lambda: spent_ns)

    async def busy() -> str:
        nonlocal spent_ns
        for _ in range(30):
            spent_ns += 1_000
            await asyncio.sleep(0)
        return "done"

    async def idle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    worker, sleeper, waits = Spent(), Spent(), Counter[str]()
    results = await asyncio.gather(
        metered(worker, busy(), lambda: waits.update(["worker"])),
        metered(sleeper, idle(), lambda: waits.update(["sleeper"])),
    )
    assert results == ["done", None]
    assert (worker.cpu_ns, sleeper.cpu_ns) == (30_000, 0)
    assert waits == {"worker": 1, "sleeper": 1}


async def test_what_a_coroutine_sets_in_its_context_is_not_seen_by_the_next_in_the_same_task() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen = []

    async def handler(name: str) -> None:
        seen.append(who.get())
        who.set(name)
        await asyncio.sleep(0)
        seen.append(who.get())

    for name in ("first", "second"):
        await metered(Spent(), handler(name), lambda: None)
    assert seen == ["nobody", "first", "nobody", "second"]


async def test_a_metered_coroutine_can_be_cancelled_and_cleans_up() -> None:
    cleaned = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    task = asyncio.ensure_future(metered(Spent(), waits(), lambda: None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cleaned.is_set()
    assert task.cancelled()


class Card(BaseModel):
    number: int
    holder: str


def test_what_a_model_did_not_accept_is_in_no_error() -> None:
    secret = "4111-1111, input_type=str] 1111-1111"

    def validates() -> None:
        try:
            Card.model_validate({"number": secret, "holder": [secret]})
        except ValidationError as error:
            raise RuntimeError("no card") from error

    for error in (
        caught(validates),
        caught(Card.model_validate, {"number": secret}),
        caught(Card.model_validate, secret),
    ):
        described = failed(error).error
        assert described["stack"]
        assert "1111" not in "".join(described.values()), described
    assert "number" in failed(caught(Card.model_validate, {"number": secret})).error["error_message"]


def test_a_redacted_failure_keeps_type_and_fingerprint_alone() -> None:
    outcome = failed(caught(charge, 1))
    error = redacted(outcome, Redaction(errors=True)).error
    assert (error["error_type"], error["error_fingerprint"]) == ("ValueError", outcome.error["error_fingerprint"])
    assert "declined" not in "".join(error.values())
    assert redacted(cancelled("wrong report"), Redaction(errors=True)).error["error_message"] == "wrong report"


def test_what_is_redacted_is_in_neither_message_nor_stack_also_where_they_are_cut() -> None:
    redaction = Redaction(fields=["card"], patterns=["sk_[a-z]+"])

    def pays(before: int, after: int) -> None:
        raise ValueError("x" * before + " card=4111 with sk_live" + "y" * after)

    error = redacted(failed(caught(pays, 0, 0)), redaction).error
    assert error["error_message"] == " card=[redacted] with [redacted]"
    assert "card=[redacted]" in error["stack"]
    for cut in range(4, 30):
        error = redacted(failed(caught(pays, MESSAGE_LENGTH - cut, 0)), redaction).error
        assert len(error["error_message"]) <= MESSAGE_LENGTH
        assert not {"411", "sk_"} & {error["error_message"][at : at + 3] for at in range(MESSAGE_LENGTH)}
        error = redacted(failed(caught(pays, 0, STACK_LENGTH - cut)), redaction).error
        assert len(error["stack"]) <= STACK_LENGTH and "111" not in error["stack"]
    assert redacted(cancelled("card=4111"), redaction).error["error_message"] == "card=[redacted]"
