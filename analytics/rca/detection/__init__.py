"""Finds when a metric left its usual range."""
