"""Submitting jobs."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.producers.async_client import AsyncJobClient
    from millstream.producers.client import JobClient
    from millstream.producers.commands import (
        CommandNotSent,
        CommandsUnreadable,
        active_commands,
        remove_expired_cancellations,
        revoke_command,
        send_command,
    )
    from millstream.producers.delivery import SubmitError
    from millstream.producers.request import InvalidJob, NewJob, NewJobFields
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "async_client": ("AsyncJobClient",),
            "client": ("JobClient",),
            "commands": (
                "CommandNotSent",
                "CommandsUnreadable",
                "active_commands",
                "remove_expired_cancellations",
                "revoke_command",
                "send_command",
            ),
            "delivery": ("SubmitError",),
            "request": ("InvalidJob", "NewJob", "NewJobFields"),
        },
    )

__all__ = [
    "AsyncJobClient",
    "CommandNotSent",
    "CommandsUnreadable",
    "InvalidJob",
    "JobClient",
    "NewJob",
    "NewJobFields",
    "SubmitError",
    "active_commands",
    "remove_expired_cancellations",
    "revoke_command",
    "send_command",
]
