"""How an attempt ended."""

import hashlib
import traceback
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import TracebackType

from millstream.consumers.worker.execution.error_text import without_input
from millstream.redaction import MARGIN, REDACTED, Redaction
from millstream.schemas import DeadReason, EventKind

MESSAGE_LENGTH = 2_000
STACK_LENGTH = 8_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt: its kind, the error if there was one, and the reason of a dead letter if the job gets
    one."""

    kind: EventKind
    reason: DeadReason = DeadReason.FAILED
    retryable: bool = True
    error: dict[str, str] = field(default_factory=dict)


SUCCEEDED = Outcome(EventKind.SUCCEEDED)


def failed(error: BaseException) -> Outcome:
    """The handler raised."""
    return Outcome(EventKind.FAILED, error=_describe(error))


def rejected(reason: DeadReason, error: BaseException) -> Outcome:
    """No attempt can run the job: its type is unknown, or its handler does not accept the payload."""
    return Outcome(EventKind.FAILED, reason, retryable=False, error=_describe(error))


def cancelled(reason: str) -> Outcome:
    """The job was cancelled."""
    return Outcome(
        EventKind.CANCELLED, retryable=False, error={"error_type": "Cancelled", "error_message": encodable(reason)}
    )


def timed_out(message: str) -> Outcome:
    return Outcome(EventKind.TIMED_OUT, DeadReason.TIMED_OUT, error=_describe(TimeoutError(message)))


def redacted(outcome: Outcome, redaction: Redaction) -> Outcome:
    """The outcome as it may be written. With `redaction.errors` nothing remains of what a handler says about its
    failure but type and fingerprint."""
    if not outcome.error:
        return outcome
    if redaction.errors and outcome.kind is EventKind.FAILED:
        texts = {"error_message": REDACTED, "stack": ""}
    else:
        message, stack = outcome.error.get("error_message", ""), outcome.error.get("stack", "")
        # The end of a stack says most.
        texts = {
            "error_message": redaction.cut(message, MESSAGE_LENGTH),
            "stack": redaction(stack[-STACK_LENGTH - MARGIN :])[-STACK_LENGTH:],
        }
    return replace(outcome, error={**outcome.error, **texts})


def fingerprint(error: BaseException) -> str:
    """Equal for errors of one cause: a hash of the error's class and the innermost frame outside installed packages.

    Messages and line numbers vary between occurrences and releases, so they are left out.
    """
    where = ""
    frame = _own_frames(error.__traceback__)
    while frame:
        code = frame.tb_frame.f_code
        if "site-packages" not in code.co_filename:
            where = f"{PurePath(code.co_filename).name}:{code.co_qualname}"
        frame = frame.tb_next
    return hashlib.sha1(
        f"{type(error).__qualname__}@{where}".encode("utf-8", "backslashreplace"), usedforsecurity=False
    ).hexdigest()[:16]


def encodable(text: str) -> str:
    """The text, with what UTF-8 cannot encode (such as undecodable bytes of a file name) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _describe(error: BaseException) -> dict[str, str]:
    """Never raises, whatever the error's own methods do: without it the attempt would have no outcome. Texts may be
    longer than what is written of them, as `redacted` cuts them."""
    frames = _own_frames(error.__traceback__)
    return {
        "error_type": encodable(type(error).__qualname__),
        "error_message": encodable(_text(error)[: MESSAGE_LENGTH + MARGIN]),
        "error_fingerprint": fingerprint(error),
        "stack": encodable(_stack(error, frames)[-STACK_LENGTH - MARGIN :]),
    }


def _text(error: BaseException) -> str:
    try:
        return without_input(str(error))
    except BaseException as problem:
        return f"(no text: __str__ raised {type(problem).__qualname__})"


def _stack(error: BaseException, frames: TracebackType | None) -> str:
    try:
        return without_input("".join(traceback.format_exception(type(error), error, frames))) if frames else ""
    except Exception as problem:
        return f"(no stack: {type(problem).__qualname__})"


def _own_frames(frame: TracebackType | None) -> TracebackType | None:
    """The traceback from the handler inwards: how the worker called it is not part of the cause."""
    while frame and str(frame.tb_frame.f_globals.get("__name__")).startswith(_OUTER_MODULES):
        frame = frame.tb_next
    return frame


_OUTER_MODULES = ("millstream.consumers.worker.", "millstream.testing.", "concurrent.futures.", "asyncio.")
