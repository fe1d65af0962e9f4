-- How many attempts ended in the incident, and how many in the baseline?
SELECT countIf($now), countIf(NOT ($now)) FROM job_attempts WHERE $windows;
