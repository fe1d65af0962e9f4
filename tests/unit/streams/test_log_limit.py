"""Libraries log each kind of line once in a while, with a count of those left out; ours are never left out."""

import logging

from millstream.streams.log_limit import INTERVAL_S, LogLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def line(text: str, *args: object, name: str = "aiokafka.cluster") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, args, None)


def test_of_a_thousand_equal_lines_one_is_shown_and_the_next_says_how_many_there_were() -> None:
    clock = Clock()
    limit = LogLimit(clock)
    assert [limit.filter(line("Topic %s not found", "t")) for _ in range(1_000)] == [True] + [False] * 999
    clock.now = INTERVAL_S
    last = line("Topic %s not found", "t")
    assert limit.filter(last)
    assert last.getMessage() == "Topic t not found (999 more since the last such line)"
    clock.now *= 2
    alone = line("Topic %s not found", "t")
    assert limit.filter(alone) and alone.getMessage() == "Topic t not found"


def test_another_kind_of_line_is_shown_at_once() -> None:
    limit = LogLimit(Clock())
    assert limit.filter(line("Topic %s not found", "t"))
    assert limit.filter(line("Unable to connect to %s", "node"))
    assert limit.filter(line("Topic %s not found", "t", name="aiokafka.producer"))


def test_lines_of_millstream_are_never_left_out() -> None:
    limit = LogLimit(Clock())
    assert all(limit.filter(line("event_unreadable", name="millstream.streams.tracker")) for _ in range(5))
