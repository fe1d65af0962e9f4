-- How much work waits in each lane, and how old is it?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; jobs that were submitted in the window, as they stand
--   now).
-- Columns: lane, submitted (jobs), finished (jobs with their final outcome), open_jobs (not finished), not_started
--   (jobs of which no attempt has started; too low where executions were lost and started again), oldest_open (UTC,
--   minute of submission; 1970 when none is open), oldest_open_s (its age at `to`, or now when that is earlier),
--   oldest_not_started_s (age of the oldest one not started), p95_open_age_s (age that 95 % of the open ones do not
--   exceed).
-- Example: SELECT * FROM backlog(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')
CREATE OR REPLACE VIEW backlog AS
WITH
    least(now('UTC'), toDateTime({to:DateTime64(6, 'UTC')}, 'UTC')) AS moment,
    by_minute AS
    (
        SELECT
            minute, lane,
            sum(backlog_1m.submitted) AS submitted,
            sum(backlog_1m.started) AS started,
            sum(backlog_1m.finished) AS finished,
            greatest(0, toInt64(greatest(submitted, started, finished)) - toInt64(finished)) AS open,
            greatest(0, toInt64(submitted) - toInt64(greatest(started, finished))) AS not_started,
            greatest(0, dateDiff('second', minute, moment)) AS age_s
        FROM backlog_1m
        WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
        GROUP BY minute, lane
    )
SELECT
    lane,
    sum(by_minute.submitted) AS submitted,
    sum(by_minute.finished) AS finished,
    sum(open) AS open_jobs,
    sum(by_minute.not_started) AS not_started,
    minIf(minute, open > 0) AS oldest_open,
    maxIf(age_s, open > 0) AS oldest_open_s,
    maxIf(age_s, by_minute.not_started > 0) AS oldest_not_started_s,
    if(open_jobs > 0, quantileExactWeighted(0.95)(age_s, toUInt64(open)), 0) AS p95_open_age_s
FROM by_minute
GROUP BY lane
ORDER BY open_jobs DESC, lane;
