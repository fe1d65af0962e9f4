"""A group member returns everything that it is assigned, on a scripted consumer."""

import pytest

from millstream.consumers.kafka.assignment import Assignment
from tests.support.scripted_group import ScriptedConsumer, ScriptedMessage, scripted_member

TOPIC = "jobs.default"


class SizedMessage(ScriptedMessage):
    """A message as confluent-kafka has it: its length is that of its value."""

    def __len__(self) -> int:
        return len(self.value() or b"")


@pytest.mark.parametrize("value", [None, b"", b"value"])
def test_a_record_without_a_value_is_returned_like_any_other(value: bytes | None) -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    for receive in (member.fetch, lambda: member.poll(0)):
        consumer.arriving.append([SizedMessage(TOPIC, 0, 0, value)])
        (message,) = receive()
        assert message.value() == value
    assert member.poll(0) == []


def test_a_partition_that_was_paused_when_it_was_removed_is_resumed_when_it_comes_back() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    assignment = Assignment(TOPIC, 0, "default")
    member.assign([assignment])
    member.pause([assignment])
    assignment.paused = True
    member.remove((TOPIC, 0))
    assert consumer.paused == {(TOPIC, 0)}
    member.assign([Assignment(TOPIC, 0, "default")])
    assert consumer.paused == set()


def test_offsets_of_an_aborted_transaction_are_committed_by_the_next_one() -> None:
    member = scripted_member(ScriptedConsumer())
    assignment = Assignment(TOPIC, 0, "default")
    member.assign([assignment])
    assert member.commit() is None
    assignment.ledger.take(0)
    assignment.finish(0)
    commit = member.commit()
    assert commit is not None and [each.offset for each in commit.offsets] == [1]
    assert member.commit() is None
    member.commit_again([commit])
    again = member.commit()
    assert again is not None and [each.offset for each in again.offsets] == [1]


def test_reading_resumes_at_the_next_unread_offset() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    assignment = Assignment(TOPIC, 0, "default", first_offset=5)
    member.assign([assignment])
    member.resume([assignment])
    assignment.ledger.take(5)
    member.resume([assignment])
    assert [what for name, what in consumer.calls if name == "seek"] == [(0, 5), (0, 6)]


def test_a_partition_that_was_assigned_during_a_fetch_is_read_from_its_first_offset() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)

    def consume(count: int, timeout: float) -> list[ScriptedMessage]:
        member.rebalances += 1
        member.assign([Assignment(TOPIC, 0, "default", first_offset=7, rebalance=member.rebalances)])
        return [ScriptedMessage(TOPIC, 0, 9, b"of the assignment before")]

    consumer.consume = consume  # type: ignore[method-assign]
    assert member.fetch() == []
    assert ("seek", (0, 7)) in consumer.calls
