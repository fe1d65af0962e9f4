-- Since when is an alert open, and with which severities was it recorded?
SELECT minOrNull(opened_at) AS first_opened_at, groupUniqArray(toString(severity)) AS severities
FROM alerts
WHERE fingerprint = {fingerprint:String}
