-- About how many attempts ended in the windows? One granule in sixteen is read.
SELECT count() * 16 FROM job_attempts WHERE ($windows) AND intDiv(_part_offset, 8192) % 16 = 0;
