"""What workers must know of a lane that got more partitions.

A key's partition is its hash modulo the number of partitions. With a multiple of the former number, a key either stays
or moves from partition `p` to a new one, `n`, where `n` modulo the former number is `p`. So the keys of a new partition
are in order when that partition is not read before `p` has been processed up to the last record of these keys there.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

GROWTH_KEY = b"partition_growth:"
"""What the key of such a record on `jobs.commands` begins with; the name of the topic follows."""


class GrowthStep(BaseModel):
    """One growth of a topic, from `before` to `after` partitions.

    `ends`: an offset for each partition of before, below which all records are that were placed among `before`
    partitions. None until every producer knows the new partitions.
    """

    model_config = ConfigDict(frozen=True)

    before: int = Field(ge=1)
    after: int
    ends: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.after % self.before or self.after == self.before:
            raise ValueError(f"{self.after} partitions are no multiple of {self.before}")
        if self.ends is not None and len(self.ends) != self.before:
            raise ValueError(f"{len(self.ends)} ends of {self.before} partitions")
        return self

    def source(self, partition: int) -> int:
        """The partition that held the keys of this new one."""
        return partition % self.before


class PartitionGrowth(BaseModel):
    """Every growth of one topic: the value of a record on `jobs.commands`, as JSON."""

    model_config = ConfigDict(frozen=True)

    topic: str
    steps: tuple[GrowthStep, ...] = ()

    @property
    def key(self) -> bytes:
        """The record's key, of which compaction keeps the last record."""
        return GROWTH_KEY + self.topic.encode()

    @property
    def unfinished(self) -> bool:
        """Whether the last growth has no ends yet, so that its new partitions cannot be read."""
        return bool(self.steps) and self.steps[-1].ends is None

    def step_of(self, partition: int) -> GrowthStep | None:
        """The growth that added this partition; None for one that the topic was created with."""
        return next((step for step in reversed(self.steps) if step.before <= partition < step.after), None)
