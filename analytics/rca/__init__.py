"""Root cause analysis: when a metric left its course, who and what it was, and the evidence."""
