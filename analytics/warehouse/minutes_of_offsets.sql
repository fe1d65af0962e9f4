-- In which minutes are the rows of a table at these offsets (from firsts to before ends, by partition), by either of two
-- of its times?
SELECT DISTINCT arrayJoin([toStartOfMinute({time:Identifier}), toStartOfMinute({other_time:Identifier})]) AS minute
FROM {table:Identifier}
WHERE kafka_offset >= transform(kafka_partition, {partitions:Array(Int32)}, {firsts:Array(Int64)}, toInt64(0))
    AND kafka_offset < transform(kafka_partition, {partitions:Array(Int32)}, {ends:Array(Int64)}, toInt64(0))
