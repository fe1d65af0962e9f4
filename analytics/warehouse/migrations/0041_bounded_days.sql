-- Bounds on the days that one insert writes: each day is a part of its own in each table by days, and one of the blocks
-- that the table remembers by token. What is dated more than 400 days ago, for which rollups are kept by default, or more
-- than 100 days ahead is rejected, so the sink makes a dead letter of it. A job was submitted a year before the event at the
-- earliest and a day after it at the latest; what is outside, such as a clock that is wrong, is moved to the bound.
--
-- That makes 870 blocks of a table at most. A table by days remembers 100,000, so that a batch is dropped that is repeated
-- after a hundred inserts of that kind.
ALTER TABLE job_events_landing MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        )
        + throwIf(
            occurred_at < now() - toIntervalDay(400) OR occurred_at > now() + toIntervalDay(100),
            'occurred_at is more than 400 days ago or more than 100 days ahead'
        );

ALTER TABLE job_events_check MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        )
        + throwIf(
            occurred_at < now() - toIntervalDay(400) OR occurred_at > now() + toIntervalDay(100),
            'occurred_at is more than 400 days ago or more than 100 days ahead'
        );

ALTER TABLE worker_heartbeats_landing MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        )
        + throwIf(
            occurred_at < now() - toIntervalDay(400) OR occurred_at > now() + toIntervalDay(100),
            'occurred_at is more than 400 days ago or more than 100 days ahead'
        );

ALTER TABLE worker_heartbeats_check MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        )
        + throwIf(
            occurred_at < now() - toIntervalDay(400) OR occurred_at > now() + toIntervalDay(100),
            'occurred_at is more than 400 days ago or more than 100 days ahead'
        );

ALTER TABLE job_events_from_landing MODIFY QUERY
SELECT * REPLACE (
    least(greatest(submitted_at, occurred_at - toIntervalYear(1)), occurred_at + toIntervalDay(1)) AS submitted_at
)
FROM job_events_landing;

-- The lasting identity: see 0031.
RENAME TABLE IF EXISTS job_events_from_landing TO job_events_from_landing_renamed;

RENAME TABLE IF EXISTS job_events_from_landing_renamed TO job_events_from_landing;

ALTER TABLE job_events MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE job_attempts MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE jobs MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE worker_heartbeats MODIFY SETTING non_replicated_deduplication_window = 100000;
