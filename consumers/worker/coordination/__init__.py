"""Heartbeats between workers, and commands from operators."""
