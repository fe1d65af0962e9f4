-- How many rows of a table are from before a moment (microseconds since 1970), and from when is the oldest?
WITH toUnixTimestamp64Micro(toDateTime64({time:Identifier}, 6, 'UTC')) AS at
SELECT countIf(at < {moment:Int64}) AS found, min(at) AS oldest
FROM {table:Identifier}
