-- Where the sink inserts what it reads from jobs.changes; see job_events_landing.
CREATE TABLE IF NOT EXISTS changes_landing
(
    change_id UUID, occurred_at DateTime64(6, 'UTC'), kind String, service String, version String, author String,
    summary String, labels Map(String, String), kafka_partition Int32,
    kafka_offset Int64 DEFAULT read_offset
        + throwIf(record_end != 'MILLSTRM', 'the body of a record is longer or shorter than its schema says'),
    read_offset Int64 EPHEMERAL,
    record_end FixedString(8) EPHEMERAL
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS changes_check AS changes_landing ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS changes_from_landing TO changes AS
SELECT * FROM changes_landing;
