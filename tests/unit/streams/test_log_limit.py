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
    assert [limit.filter(line("Odd thing about %s", "t")) for _ in range(1_000)] == [True] + [False] * 999
    clock.now = INTERVAL_S
    last = line("Odd thing about %s", "t")
    assert limit.filter(last)
    assert last.getMessage() == "Odd thing about t (999 more since the last such line)"
    clock.now *= 2
    alone = line("Odd thing about %s", "t")
    assert limit.filter(alone) and alone.getMessage() == "Odd thing about t"


def test_another_kind_of_line_is_shown_at_once() -> None:
    limit = LogLimit(Clock())
    assert limit.filter(line("Odd thing about %s", "t"))
    assert limit.filter(line("Another thing about %s", "t"))
    assert limit.filter(line("Odd thing about %s", "t", name="aiokafka.producer"))


def test_lines_of_millstream_are_never_left_out() -> None:
    limit = LogLimit(Clock())
    assert all(limit.filter(line("event_unreadable", name="millstream.streams.tracker")) for _ in range(5))


def test_a_broker_that_is_away_is_one_line_in_an_interval_that_says_what_it_means() -> None:
    clock = Clock()
    limit = LogLimit(clock)
    lines = [
        line("Unable connect to node with id %s: %s", 1, "refused", name="aiokafka"),
        line("Unable to update metadata from %s", [1], name="aiokafka"),
        line("Failed fetch messages from %s: %s", 1, "not ready", name="aiokafka.consumer.fetcher"),
        line("Group Coordinator Request failed: %s", "x", name="aiokafka.consumer.group_coordinator"),
    ]
    assert [limit.filter(each) for each in lines] == [True, False, False, False]
    assert lines[0].getMessage().startswith("Unable connect to node with id 1: refused: a broker does not answer")
    gone = line("Topic %s not found in cluster metadata", "millstream.jobs.events", name="aiokafka.cluster")
    assert limit.filter(gone) and "millstream topics apply" in gone.getMessage()
