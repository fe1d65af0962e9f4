-- In which periods (minutes or hours) do two queries give different rows, and how many does each give?
-- $table and $raw are queries with the column period.
SELECT
    period, sumIf(found, from_table) AS rows_in_table, sumIf(found, NOT from_table) AS rows_from_raw
FROM
(
    SELECT period, count() AS found, sum(cityHash64(formatRow('TSV', *))) AS fingerprint, true AS from_table
    FROM ($table)
    WHERE period >= {since:DateTime('UTC')} AND period < {until:DateTime('UTC')}
    GROUP BY period
    UNION ALL
    SELECT period, count() AS found, sum(cityHash64(formatRow('TSV', *))) AS fingerprint, false AS from_table
    FROM ($raw)
    WHERE period >= {since:DateTime('UTC')} AND period < {until:DateTime('UTC')}
    GROUP BY period
)
GROUP BY period
HAVING rows_in_table != rows_from_raw OR sumIf(fingerprint, from_table) != sumIf(fingerprint, NOT from_table)
ORDER BY period
