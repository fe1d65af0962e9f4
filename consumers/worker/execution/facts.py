"""What happened to an execution, in the order in which it happened."""

from datetime import datetime
from typing import NamedTuple

from millstream.consumers.worker.execution.execution import Execution


class Started(NamedTuple):
    execution: Execution


class Progress(NamedTuple):
    execution: Execution
    occurred_at: datetime
    fraction: float
    message: str


class Finished(NamedTuple):
    execution: Execution


Fact = Started | Progress | Finished
