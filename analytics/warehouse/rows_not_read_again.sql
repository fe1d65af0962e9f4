-- Of the rows of a table that a sink fills: how many would not come back if Kafka were read again, and from when are they
-- and the others? A row comes back when Kafka has its offset: from firsts to before ends, by partition.
WITH
    kafka_offset >= transform(kafka_partition, {partitions:Array(Int32)}, {firsts:Array(Int64)}, toInt64(0))
        AND kafka_offset < transform(kafka_partition, {partitions:Array(Int32)}, {ends:Array(Int64)}, toInt64(0)) AS again,
    toUnixTimestamp64Micro({time:Identifier}) AS at
SELECT
    countIf(NOT again) AS lost,
    minIf(at, NOT again) AS oldest_lost,
    maxIf(at, NOT again) AS newest_lost,
    countIf(again) AS kept,
    minIf(at, again) AS oldest_kept
FROM {table:Identifier}
