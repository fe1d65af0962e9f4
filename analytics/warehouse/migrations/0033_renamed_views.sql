-- The views rca_course and telling_jobs are called rca_timeseries and example_jobs; every run makes those.
DROP VIEW IF EXISTS rca_course;

DROP VIEW IF EXISTS telling_jobs;
