"""What a handler says while it runs."""

from millstream.consumers.worker import JobContext
from millstream.schemas import JobRequest


def reported(*said: tuple[float, str]) -> list[tuple[float, str]]:
    heard: list[tuple[float, str]] = []
    context = JobContext(
        JobRequest(tenant="a", job_type="b"), "execution", lambda fraction, text: heard.append((fraction, text))
    )
    for fraction, text in said:
        context.progress(fraction, text)
    return heard


def test_a_handler_that_speaks_in_percent_does_not_flood_the_events() -> None:
    assert reported(*[(percent, "") for percent in range(100)]) == [(0.0, ""), (1.0, "")]


def test_the_report_of_completion_is_always_sent_and_values_outside_are_clamped() -> None:
    assert reported((-1, "begun"), (0.5, "half"), (1.0, "done"), (1.0, "again")) == [(0.0, "begun"), (1.0, "done")]
    assert reported((float("nan"), "lost")) == [(0.0, "lost")]


def test_a_message_is_text_that_an_event_can_hold() -> None:
    assert reported((0.5, "caf\udce9.txt")) == [(0.5, "caf\\udce9.txt")]
    assert reported((0.5, None)) == [(0.5, "None")]  # type: ignore[arg-type]
