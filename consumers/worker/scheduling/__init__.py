"""Which job starts next, and how many run at once."""
