"""What an attempt's outcome becomes: records and retries."""
