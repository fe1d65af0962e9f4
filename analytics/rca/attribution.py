"""Which combination of dimension values explains a change: pure scoring over leaves, no I/O.

found = attribute(Leaves.of_columns({"tenant": [...], "host": [...]}, bad_before, of_before, bad_now, of_now))
found.verdict, [finding.dimensions for finding in found.findings]
"""

from dataclasses import dataclass, field
from typing import Literal

from millstream.analytics.rca.leaves import Leaves

Verdict = Literal["causes", "global", "too little data", "nothing unusual"]
Direction = Literal["rise", "drop"]


@dataclass(frozen=True)
class Counts:
    """How much was bad, out of how much."""

    bad: float
    of: float

    @property
    def rate(self) -> float:
        """bad / of; 0 when there was nothing."""
        return self.bad / self.of if self.of else 0.0


@dataclass(frozen=True)
class Finding:
    """One cause: a combination of dimension values, and what speaks for it."""

    dimensions: dict[str, str]
    aliases: list[dict[str, str]]
    """Other combinations that cover the same, or nearly the same, rows."""
    before: Counts
    now: Counts
    outside_before: Counts
    outside_now: Counts
    expected: float
    """What `now.bad` would have been at the baseline's rates."""
    excess: float
    """now.bad - expected; negative for a drop."""
    share: float
    """Part of the whole excess that lies inside, 0 to 1 (above 1 when the rest moved the other way)."""
    ratio: float
    """now.bad / expected, `expected` being at least one grain."""
    interval: tuple[float, float]
    """95 % interval of `ratio`."""
    score: float
    """Log-likelihood (nats) by which it explains the change, less penalties."""
    confidence: float
    """How often a finding that looks like this one was exactly the cause, 0 to 1."""


@dataclass(frozen=True)
class Attribution:
    """The answer: a verdict and, for 'causes', the causes, most telling first."""

    verdict: Verdict
    findings: list[Finding]
    before: Counts
    now: Counts
    expected: float
    excess: float
    explained: float
    """Part of the excess that the findings cover together, 0 to 1."""
    candidates: list[Finding] = field(default_factory=list)
    """The best-scoring combinations whatever the verdict, for a reader who doubts it."""


@dataclass(frozen=True)
class Options:
    """What to look for. `most_dimensions`: 1 to 3 dimensions a combination. `most_findings`: independent causes."""

    direction: Direction = "rise"
    most_dimensions: int = 3
    most_findings: int = 5


def attribute(leaves: Leaves, options: Options | None = None) -> Attribution:
    """Find the causes of the change between the baseline and now."""
    raise NotImplementedError(len(leaves), options)
