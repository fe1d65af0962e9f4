-- Where each record of an insert ends, so that no record can be read as another. The sink puts each record between two
-- marks that are random and new in each insert: frame_start before it, its reverse, frame_end, behind it, and only then
-- partition and offset. The mark record_end, which is the same in all inserts and so can be written into a record, is
-- what sinks of earlier releases send; theirs are read as before. A row with neither is rejected.
ALTER TABLE job_events_landing ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE job_events_check ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE worker_heartbeats_landing ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE worker_heartbeats_check ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE alerts_landing ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE alerts_check ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE dead_letters_landing ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE dead_letters_check ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE changes_landing ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );

ALTER TABLE changes_check ADD COLUMN IF NOT EXISTS frame_start FixedString(16) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS frame_end FixedString(16) EPHEMERAL,
    MODIFY COLUMN kafka_offset Int64 DEFAULT read_offset
        + throwIf(
            frame_end != reverse(frame_start)
                OR (record_end != 'MILLSTRM' AND frame_start = toFixedString('', 16)),
            'the body of a record is longer or shorter than its schema says'
        );
