"""Ids of jobs, events, executions and commands."""

import uuid_utils


def new_id() -> str:
    """A new UUIDv7: unique, and ordered by the time of its creation."""
    return str(uuid_utils.uuid7())
