"""The parts of a sink on a scripted consumer: what is announced, inserted, acknowledged, and repeated by the next
owner."""

import math
import time
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from millstream.consumers.sink import SinkConfig
from millstream.consumers.sink import reading as reading_module
from millstream.consumers.sink.intent import Intent, UnknownIntent
from millstream.consumers.sink.rejected import RejectedRecord
from tests.support.scripted_group import CLUSTER, ScriptedConsumer, ScriptedMessage
from tests.support.scripted_sink import EVENT, TOPIC, Parts
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def messages_are_scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "PARTITION", ScriptedMessage.partition)
    monkeypatch.setattr(reading_module, "OFFSET", ScriptedMessage.offset)
    monkeypatch.setattr(reading_module, "Message", ScriptedMessage)


def test_a_batch_is_announced_before_it_is_inserted_and_acknowledged_after() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 5, 3)
    parts.writer.blocks = True
    parts.turn()
    assert parts.commits_made() == [(0, 5, f"v1 until={8:019d}")] and parts.writer.written == []
    parts.writer.unblock.set()
    parts.inserted(1)
    parts.turn()
    assert parts.writer.written == [(0, 5, 8)]
    assert parts.commits_made()[-1][:2] == (0, 8)
    assert parts.status.rows_inserted == 3


def test_nothing_is_inserted_that_could_not_be_announced() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 3)
    parts.consumer.commit_fails = True
    parts.turn()
    time.sleep(0.05)
    assert parts.writer.written == [] and parts.status.last_error.startswith("commit_failed")
    parts.consumer.commit_fails = False
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 3)]


def test_an_insert_is_repeated_until_it_is_done() -> None:
    parts = Parts()
    parts.writer.fails = 2
    parts.assign(0)
    parts.arrive(0, 0, 1)
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 1)]


def quiet_s(parts: Parts) -> float:
    return parts.inserts.quiet_s(parts.owned.partitions.values())


def test_there_is_nothing_to_do_until_a_record_has_its_age_and_while_an_insert_runs_it_is_watched() -> None:
    parts = Parts(config=SinkConfig(min_age_s=600, max_age_s=600, acknowledge_after_s=300))
    parts.assign(0, 1)
    assert quiet_s(parts) == math.inf
    parts.arrive(0, 5, 3)
    parts.turn()
    assert 0 < quiet_s(parts) <= 600
    partition = parts.owned.partitions[0]
    partition.buffer.put_back(partition.buffer.records.part(0), time.monotonic() - 600)
    parts.writer.blocks = True
    parts.turn()
    assert partition.insert is not None and quiet_s(parts) == 0
    parts.writer.unblock.set()
    parts.inserted(1)
    assert 0 < quiet_s(parts) <= 300, "its end is acknowledged later"


def test_a_partition_that_an_earlier_owner_announced_is_never_quiet() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = Intent(0, 4).announcement(CLUSTER, TOPIC, 0)
    parts.assign(0)
    assert quiet_s(parts) == 0


def test_a_sink_with_nothing_to_do_takes_what_comes_at_once_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    parts.assign(0)
    waits: list[float] = []
    poll = parts.consumer.poll

    def noted(timeout: float) -> ScriptedMessage | None:
        waits.append(timeout)
        return poll(timeout)

    monkeypatch.setattr(parts.consumer, "poll", noted)
    parts.reading.read(math.inf)
    assert waits == [reading_module.QUIET_POLL_S] and parts.status.rows_read == 0
    parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, each, EVENT) for each in range(3)])
    parts.reading.read(math.inf)
    assert parts.status.rows_read == 3
    parts.reading.read(reading_module.POLL_S)
    assert len(waits) == 2, "records are only collected while there is something else to do"


def turn_until(parts: Parts, condition: Callable[[], bool]) -> None:
    def done() -> bool:
        parts.turn()
        return condition()

    until(done)


def rows_written(parts: Parts, partition: int = 0) -> list[int]:
    return [
        offset for number, start, end in parts.writer.written if number == partition for offset in range(start, end)
    ]


def test_a_batch_that_is_refused_for_its_size_is_announced_and_inserted_in_parts_and_the_operator_is_told() -> None:
    parts = Parts()
    parts.writer.most_rows = 3
    parts.assign(0)
    parts.arrive(0, 0, 10)
    with capture_logs() as lines:
        turn_until(parts, lambda: parts.status.rows_inserted == 10)
    assert rows_written(parts) == list(range(10))
    assert max(end - start for _, start, end in parts.writer.written) <= 3
    # The first part has the token of the whole; it was announced before it was inserted.
    assert parts.writer.written[0] == (0, 0, 2) and parts.writer.announced_ends[0] == 10
    assert (0, 0, f"v1 until={2:019d} of={10:019d}") in parts.commits_made()
    assert parts.status.cut_batches >= 2 and parts.status.refused == {}
    (told,) = (line for line in lines if line["event"] == "batch_refused_for_size")
    assert (told["log_level"], told["partition"], told["rows"]) == ("error", 0, 10)
    named = (
        "sink.max_rows (now 100000)",
        "sink.max_bytes",
        "max_memory_usage",
        "max_execution_time",
        "query_timeout_s",
    )
    assert all(name in told["settings"] for name in named)


def test_the_next_owner_goes_on_with_the_part_that_was_announced_whatever_its_settings() -> None:
    parts = Parts()
    parts.writer.most_rows = 0
    parts.assign(0)
    parts.arrive(0, 0, 8)
    turn_until(parts, lambda: parts.status.cut_batches == 2)
    parts.turn()
    parts.revoke(0)
    next_owner = Parts(config=SinkConfig(min_age_s=0, max_age_s=0, acknowledge_after_s=0, max_rows=1))
    next_owner.consumer = parts.consumer
    next_owner.__post_init__()
    next_owner.assign(0)
    next_owner.arrive(0, 0, 8)
    turn_until(next_owner, lambda: next_owner.status.rows_inserted == 8)
    assert next_owner.writer.written[0] == (0, 0, 2) and next_owner.writer.announced_ends[0] == 8
    assert rows_written(next_owner) == list(range(8))


def test_what_arrived_as_a_whole_after_all_is_not_inserted_again_behind_its_part() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = Intent(0, 4, 10).announcement(CLUSTER, TOPIC, 0)
    parts.writer.whole_arrived = True
    parts.assign(0)
    parts.arrive(0, 0, 8)
    parts.arrive(0, 8, 4)
    parts.inserted(1)
    parts.writer.whole_arrived = False
    parts.inserted(2)
    assert parts.writer.written == [(0, 0, 4), (0, 10, 12)]


def test_a_batch_that_may_not_be_cut_is_tried_again_as_it_is() -> None:
    parts = Parts()
    parts.writer.most_rows, parts.writer.may_be_cut = 3, False
    parts.assign(0)
    parts.arrive(0, 0, 10)
    with capture_logs() as lines:
        turn_until(parts, lambda: 0 in parts.status.refused)
    assert parts.status.cut_batches == 0 and parts.writer.written == []
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["batch_refused_for_size"]
    parts.writer.most_rows = None
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 10)] and parts.status.refused == {}


def test_a_partition_that_is_taken_away_leaves_no_trace_of_its_failures() -> None:
    parts = Parts()
    parts.writer.most_rows, parts.writer.may_be_cut = 3, False
    parts.assign(0, 1)
    parts.arrive(0, 0, 10)
    turn_until(parts, lambda: 0 in parts.status.refused)
    assert parts.status.failing_since is not None
    parts.revoke(0)
    assert parts.status.refused == {} and parts.status.failing_since is None


def test_batches_that_are_never_inserted_do_not_hold_the_threads_of_the_others() -> None:
    parts = Parts()
    parts.writer.never = {0, 1}
    parts.assign(0, 1, 2, 3)
    for number in range(4):
        parts.arrive(number, 0, 5)
    parts.inserted(2)
    for number in (2, 3):
        parts.arrive(number, 5, 5)
    parts.inserted(4)
    assert rows_written(parts, 2) == rows_written(parts, 3) == list(range(10))
    assert rows_written(parts, 0) == rows_written(parts, 1) == []
    parts.writer.never = set()
    parts.inserted(6)
    assert rows_written(parts, 0) == rows_written(parts, 1) == list(range(5))


def test_rejected_records_are_sent_to_the_dead_letters_and_do_not_count_as_rows() -> None:
    parts = Parts()
    parts.writer.rejects = [RejectedRecord(1, None, b"value", "not a number")]
    parts.assign(0)
    parts.arrive(0, 0, 3)
    parts.inserted(1)
    assert parts.letters.sent == parts.writer.rejects
    assert (parts.status.rows_inserted, parts.status.dead_records) == (2, 1)


def test_an_announced_range_is_read_and_inserted_exactly_before_anything_else() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "v1 until=14")
    parts.assign(0)
    assert ("assign", [(0, 10)]) in parts.consumer.calls
    parts.arrive(0, 10, 9)
    parts.inserted(1)
    assert parts.writer.written == [(0, 10, 14)] and parts.status.repeated_batches == 1
    parts.inserted(2)
    assert parts.writer.written[1] == (0, 14, 19)


def test_a_range_that_was_announced_elsewhere_is_ignored_with_one_warning_and_no_record_is_skipped() -> None:
    parts = Parts()
    announced = Intent(3, 14).announcement(CLUSTER, TOPIC, 0)
    copied = TopicPartition(TOPIC, 0, 10, announced.metadata, leader_epoch=announced.leader_epoch)
    parts.consumer.commits[TOPIC, 0] = copied
    with capture_logs() as lines:
        parts.assign(0)
    (warning,) = (line for line in lines if line["log_level"] == "warning")
    assert (warning["event"], warning["partition"], warning["offset"]) == ("commit_metadata_ignored", 0, 10)
    parts.arrive(0, 10, 9)
    parts.inserted(1)
    assert parts.writer.written == [(0, 10, 19)] and parts.status.repeated_batches == 0


def test_what_a_sink_announced_is_repeated_by_the_next_owner() -> None:
    parts = Parts()
    parts.writer.blocks = True
    parts.assign(0)
    parts.arrive(0, 4, 3)
    parts.turn()
    parts.revoke(0)
    parts.writer.unblock.set()
    parts.assign(0)
    parts.arrive(0, 4, 9)
    parts.inserted(1)
    assert parts.writer.written[-1] == (0, 4, 7) and parts.status.repeated_batches == 1


@pytest.mark.parametrize(
    ("commit", "log", "read_from", "missing"),
    [
        (TopicPartition(TOPIC, 0, 10, "v1 until=14"), (12, 90), 12, 2),
        (TopicPartition(TOPIC, 0, 10, "v1 until=14"), (40, 90), 40, 30),
        (TopicPartition(TOPIC, 0, 10, "v1 until=14"), (2, 8), 2, 2),
        (TopicPartition(TOPIC, 0, 10, "v1 until=14"), (2, 12), 2, 0),
    ],
)
def test_a_commit_outside_of_the_log_is_said_counted_and_read_from_the_beginning_of_the_log(
    commit: TopicPartition, log: tuple[int, int], read_from: int, missing: int
) -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0], parts.consumer.logs[TOPIC, 0] = commit, log
    with capture_logs() as lines:
        parts.assign(0)
    assert parts.consumer.calls == [("assign", [(0, read_from)])]
    assert parts.status.records_missing == missing
    (error,) = (line for line in lines if line["log_level"] == "error")
    found = {name: error[name] for name in ("topic", "partition", "committed", "log_start", "log_end", "missing")}
    assert tuple(found.values()) == (TOPIC, 0, 10, *log, missing)


def test_what_retention_left_of_an_announced_range_is_inserted_as_that_range() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "v1 until=14")
    parts.consumer.logs[TOPIC, 0] = (12, 90)
    parts.assign(0)
    parts.arrive(0, 12, 5)
    parts.inserted(2)
    assert parts.writer.written == [(0, 10, 14), (0, 14, 17)]


def test_a_living_sink_that_retention_overtook_keeps_what_it_has_and_goes_on_at_the_beginning_of_the_log() -> None:
    parts = Parts()
    parts.writer.blocks = True
    parts.assign(0)
    parts.arrive(0, 0, 5)
    parts.consumer.logs[TOPIC, 0] = (60, 90)
    parts.out_of_range(0)
    assert parts.consumer.calls[-2:] == [("unassign", [0]), ("assign", [(0, 60)])]
    assert parts.status.records_missing == 55
    parts.arrive(0, 60, 2)
    parts.writer.unblock.set()
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 62)]


def test_a_topic_that_was_made_again_is_read_from_its_beginning_and_nothing_is_taken_for_inserted() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 5)
    parts.inserted(1)
    parts.topic_id = "second"
    parts.consumer.logs[TOPIC, 0] = (0, 900)
    parts.out_of_range(0, KafkaError.UNKNOWN_TOPIC_ID)
    assert parts.consumer.calls[-1] == ("assign", [(0, 0)])
    parts.turn()
    assert parts.commits_made()[-1][:2] == (0, 0)
    parts.arrive(0, 0, 2)
    parts.inserted(2)
    assert parts.writer.written[-1] == (0, 0, 2)


def test_a_log_that_became_shorter_under_a_living_sink_is_read_from_its_beginning() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 5)
    parts.inserted(1)
    parts.consumer.logs[TOPIC, 0] = (0, 3)
    parts.out_of_range(0)
    assert parts.consumer.calls[-1] == ("assign", [(0, 0)]) and parts.status.records_missing == 2


def test_a_partition_whose_log_has_changed_may_be_taken_away_before_it_is_known() -> None:
    parts = Parts()
    parts.assign(0, 1)
    parts.owned.log_changed(cast(Consumer, parts.consumer), 0)
    parts.revoke(0, 1)
    assert parts.consumer.calls[-2:] == [("unassign", [0]), ("unassign", [1])]
    parts.owned.go_on(cast(Consumer, parts.consumer))
    assert parts.consumer.calls[-1] == ("unassign", [1])


def test_metadata_of_something_else_ends_the_sink_rather_than_lose_or_duplicate_events() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "somebody else's")
    with pytest.raises(UnknownIntent):
        parts.assign(0)


def test_an_insert_that_finishes_within_the_grace_period_is_acknowledged_before_the_partition_is_given_back() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.turn()
    parts.revoke(0)
    assert [what[:2] for what in parts.commits_made()] == [(0, 0), (0, 2)]
    assert parts.consumer.calls[-1] == ("unassign", [0]) and parts.owned.partitions == {}


def test_an_insert_that_outlasts_the_grace_period_stays_announced_for_the_next_owner() -> None:
    parts = Parts()
    parts.writer.blocks = True
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.turn()
    parts.revoke(0)
    assert parts.consumer.commits[TOPIC, 0].metadata == f"v1 until={2:019d}"
    parts.writer.unblock.set()


def test_an_insert_that_keeps_failing_ends_when_its_partition_is_released() -> None:
    parts = Parts()
    parts.writer.fails = 10**6
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.turn()
    insert = parts.owned.partitions[0].insert
    parts.revoke(0)
    assert insert is not None
    with pytest.raises(ConnectionError):
        insert.result(5)


def test_nothing_of_a_lost_partition_is_committed() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.owned.on_lost(cast(Consumer, parts.consumer), [TopicPartition(TOPIC, 0)])
    parts.turn()
    assert parts.commits_made() == []


def test_reading_pauses_while_too_much_waits_and_resumes_when_half_of_it_is_inserted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_module, "PAUSE_AFTER_S", 0.0)
    parts = Parts(max_buffered_bytes=500)
    parts.writer.blocks = True
    parts.assign(0)
    parts.arrive(0, 0, 5)
    parts.turn()
    assert parts.reading.has_room(), "it is polled, but paused"
    assert parts.consumer.paused == {(TOPIC, 0)}
    parts.writer.unblock.set()
    parts.inserted(1)
    assert parts.reading.has_room() and parts.consumer.paused == set()


def test_keys_values_and_the_file_of_an_insert_count_as_memory() -> None:
    parts = Parts()
    parts.writer.blocks = True
    parts.assign(0)
    parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, 0, EVENT + bytes(1000), key=bytes(500))])
    parts.reading.read()
    waiting = parts.owned.partitions[0].memory
    assert waiting >= 1500
    parts.turn()
    assert parts.owned.partitions[0].memory >= waiting + 1500
    parts.writer.unblock.set()
    parts.inserted(1)
    assert parts.owned.partitions[0].memory == 0


def test_of_announced_ranges_that_do_not_fit_together_one_is_read_after_the_other() -> None:
    parts = Parts(max_buffered_bytes=1500)
    for number in range(3):
        parts.consumer.commits[TOPIC, number] = TopicPartition(TOPIC, number, 0, "v1 until=20")
    parts.assign(0, 1, 2)
    for number in range(3):
        parts.arrive(number, 0, 5 + number)
    most = 0
    while parts.status.batches < 3:
        reading = parts.reading.has_room()
        read = [number for number in range(3) if (TOPIC, number) not in parts.consumer.paused]
        if sum(each.memory for each in parts.owned.partitions.values()) > 1500:
            assert len(read) <= 1
        for number in read if reading else []:
            at = parts.owned.partitions[number].buffer.next or 0
            parts.arrive(number, at, min(1, 20 - at))
        most = max(most, sum(each.memory for each in parts.owned.partitions.values()))
        parts.turn()
    one_range = 20 * (2 * len(EVENT) + 300)
    assert most <= 1500 + one_range
    assert sorted(parts.writer.written) == [(number, 0, 20) for number in range(3)]


def test_a_fatal_error_of_the_consumer_ends_the_sink_and_another_one_does_not() -> None:
    parts = Parts()
    parts.assign(0)
    for error, fatal in ((KafkaError(KafkaError._TRANSPORT), False), (KafkaError(KafkaError._FATAL, fatal=True), True)):
        parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, 0, None, error)])
        if fatal:
            with pytest.raises(KafkaException):
                parts.reading.read()
        else:
            parts.reading.read()
            assert parts.status.last_error.startswith("consumer_error")


def test_a_rebalance_does_not_ask_its_own_consumer_for_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client aborts the process when the poll that calls back has more to call back for.
    monkeypatch.delattr(ScriptedConsumer, "list_topics")
    parts = Parts()
    parts.assign(0)
    assert set(parts.owned.partitions) == {0}
