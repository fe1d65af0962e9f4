"""When a metric left its usual range."""
