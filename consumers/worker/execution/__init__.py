"""Runs handlers and decides how each attempt ended."""
