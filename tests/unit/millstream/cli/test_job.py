"""What `millstream job cancel` sends, and what it refuses to send."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from millstream.cli import job as module
from millstream.cli.failure import Failure
from millstream.schemas import Action, Scope

JOB = "01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0"
CANCEL = (Action.CANCEL_JOB, Scope.JOB, JOB)

Cancelling = Callable[..., list[Any]]


@pytest.fixture
def cancelling(monkeypatch: pytest.MonkeyPatch) -> Cancelling:
    """Cancels a job while the tracker answers `answers`, the last one for ever; returns what was sent."""

    def run(answers: list[httpx.Response | Exception], *options: str, job_id: str = JOB) -> list[Any]:
        sent: list[Any] = []

        def get(url: str, headers: dict[str, str], timeout: float) -> httpx.Response:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(module.httpx, "get", get)  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "RETRY_S", 0.001)
        monkeypatch.setattr(module, "KNOWN_WITHIN_S", 0.05)
        monkeypatch.setattr(module, "send", lambda *command, reason: sent.append(("sent", *command)))
        monkeypatch.setattr(module, "revoke", lambda *command: sent.append(("revoked", *command)))
        ran = CliRunner().invoke(module.app, ["cancel", job_id, *options])
        if ran.exception is not None:
            raise ran.exception
        return sent

    return run


def state(name: str) -> httpx.Response:
    return httpx.Response(200, json={"state": name})


UNKNOWN = httpx.Response(404)
BEHIND = {"Millstream-Records-Behind": "1234", "Millstream-Seconds-Behind": "56.7"}


@pytest.mark.parametrize("name", ["submitted", "running", "retrying", "a state of a newer release"])
def test_a_job_that_has_not_ended_is_cancelled(cancelling: Cancelling, name: str) -> None:
    assert cancelling([state(name)]) == [("sent", *CANCEL)]


@pytest.mark.parametrize("name", ["succeeded", "failed", "timed_out", "cancelled"])
def test_a_job_that_has_ended_is_not_cancelled_and_the_exit_code_says_so(cancelling: Cancelling, name: str) -> None:
    with pytest.raises(Failure, match="the job has ended") as refused:
        cancelling([state(name)])
    assert refused.value.code == 1


def test_a_job_that_never_was_is_not_cancelled(cancelling: Cancelling) -> None:
    with pytest.raises(Failure, match=f"no job {JOB}") as refused:
        cancelling([UNKNOWN])
    assert refused.value.code == 1


@pytest.mark.parametrize("job_id", ["notanid", JOB.upper(), f"{JOB}\n"])
@pytest.mark.parametrize("option", [(), ("--force",)])
def test_what_is_no_job_id_is_not_sent(cancelling: Cancelling, job_id: str, option: tuple[str, ...]) -> None:
    with pytest.raises(Failure, match="is not a job id") as refused:
        cancelling([httpx.Response(400)], *option, job_id=job_id)
    assert refused.value.code == 2


def test_a_job_that_was_just_submitted_is_known_in_a_moment(cancelling: Cancelling) -> None:
    assert cancelling([UNKNOWN, UNKNOWN, state("submitted")]) == [("sent", *CANCEL)]


@pytest.mark.parametrize("answer", [httpx.ConnectError("refused"), httpx.Response(503)])
def test_a_job_is_cancelled_although_the_tracker_cannot_be_asked(
    cancelling: Cancelling, answer: httpx.Response | Exception
) -> None:
    assert cancelling([answer]) == [("sent", *CANCEL)]


def test_force_does_not_ask(cancelling: Cancelling) -> None:
    assert cancelling([state("succeeded")], "--force") == [("sent", *CANCEL)]


def test_a_cancellation_can_be_taken_back(cancelling: Cancelling) -> None:
    assert cancelling([state("submitted")], "--undo") == [("revoked", *CANCEL)]


def test_a_job_that_a_tracker_behind_the_events_does_not_know_is_cancelled_all_the_same(cancelling: Cancelling) -> None:
    assert cancelling([httpx.Response(404, headers=BEHIND)]) == [("sent", *CANCEL)]


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_a_tracker_that_asks_for_a_token_is_no_tracker_without_the_job(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.httpx, "get", lambda *_, **__: httpx.Response(401))  # type: ignore[attr-defined]
    ran = CliRunner().invoke(module.app, [command, JOB])
    assert isinstance(ran.exception, Failure) and ran.exception.code == 2
    assert "token" in str(ran.exception) and "MILLSTREAM_TRACKER__TOKEN" in ran.exception.hint


def test_job_show_sends_the_token_and_says_when_the_tracker_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    def get(url: str, headers: dict[str, str], timeout: float) -> httpx.Response:
        sent.append(headers)
        return httpx.Response(404, headers=BEHIND)

    monkeypatch.setenv("MILLSTREAM_TRACKER__TOKEN", "s3cret")
    monkeypatch.setattr(module.httpx, "get", get)  # type: ignore[attr-defined]
    ran = CliRunner().invoke(module.app, ["show", JOB])
    assert sent == [{"Authorization": "Bearer s3cret"}]
    assert "1,234 records" in ran.output
    assert isinstance(ran.exception, Failure) and "no job" in str(ran.exception) and "yet" in str(ran.exception)
