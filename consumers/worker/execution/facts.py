"""What happened to an execution. The executor emits facts; what is written of them is decided elsewhere."""

from datetime import datetime
from typing import NamedTuple

from millstream.consumers.worker.execution.execution import Execution

MESSAGE_LIMIT = 1_000
"""Characters of a progress message."""


class Started(NamedTuple):
    """The execution has its slot and its handler is about to be called."""

    execution: Execution


class Progress(NamedTuple):
    """The handler reported how far it is: `fraction` from 0 to 1."""

    execution: Execution
    occurred_at: datetime
    fraction: float
    message: str


class Finished(NamedTuple):
    """The execution has its outcome."""

    execution: Execution


Fact = Started | Progress | Finished
