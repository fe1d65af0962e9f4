-- How long did 95 % of the attempts of each lane (or job type) take at most, in the baseline? From the minute rollups.
SELECT toString($by) AS kind, quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)[3] AS p95_ms
FROM latency_1m
WHERE stage = '$stage' AND ($windows)
GROUP BY kind;
