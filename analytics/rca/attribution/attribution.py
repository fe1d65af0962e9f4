"""Which combination of dimension values explains a change: pure scoring over leaves, no I/O.

found = attribute(Leaves.of_columns({"tenant": [...], "host": [...]}, bad_before, of_before, bad_now, of_now))
found.verdict, [finding.dimensions for finding in found.findings]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from millstream.analytics.rca.attribution.baseline import has_past, shrunk_rate
from millstream.analytics.rca.attribution.confidence import confidence
from millstream.analytics.rca.attribution.leaves import Amounts, Leaves, Mask
from millstream.analytics.rca.attribution.scan import Candidate, Group, Scan, groups, scan, two_sample_evidence
from millstream.analytics.rca.attribution.screening import narrowed

Verdict = Literal["causes", "global", "too little data", "nothing unusual"]
Direction = Literal["rise", "drop"]

LEAST_COUNT = 10.0
"""Fewer bad attempts than this (expected ones, for a drop) are too little data."""

SAME_ROWS = 0.98
"""Two combinations that share this part of their rows are one finding with an alias."""

LEAST_SHARE = 0.05
"""A further cause must be at least this part of the first one's excess."""


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
class Control:
    """The same combination with another value of `dimension`: for example, the host of a failing tenant is normal for
    all others."""

    dimension: str
    before: Counts
    now: Counts
    ratio: float
    """Bad now over expected."""


@dataclass(frozen=True)
class Finding:
    """One cause: a combination of dimension values, with its evidence."""

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
    """Part of the excess that lies inside, 0 to 1; 1 when the rest did not change, or changed the other way."""
    ratio: float
    """now.bad / expected, `expected` being at least one grain."""
    interval: tuple[float, float]
    """95 % interval of `ratio`, from the counts now and before."""
    score: float
    """Log-likelihood (nats) by which it explains the change, less penalties."""
    confidence: float
    """How often a finding that looks like this one was exactly the cause, 0 to 1."""
    controls: list[Control] = field(default_factory=list)

    @property
    def names(self) -> list[dict[str, str]]:
        """Its name and aliases, without those that only add a dimension to another of them."""
        known = [self.dimensions, *self.aliases]
        return [name for name in known if not any(other.items() < name.items() for other in known)]


@dataclass(frozen=True)
class Attribution:
    """A verdict and, for 'causes', the causes, strongest evidence first."""

    verdict: Verdict
    findings: list[Finding]
    before: Counts
    now: Counts
    expected: float
    excess: float
    explained: float
    """Part of the excess that the findings cover together, 0 to 1."""
    compared_with: Literal["the past", "the rest"]
    """'the rest' when there is no past: findings then differ from the rest of the window, and may always have done
    so."""
    bar: float = 0.0
    """The score that the best combination of pure noise may reach, in nats."""
    candidates: list[Finding] = field(default_factory=list)
    """The combinations with the highest scores, whatever the verdict, so that it can be checked."""


@dataclass(frozen=True)
class Options:
    """What to look for. `most_dimensions`: 1 to 3 dimensions a combination. `most_findings`: independent causes."""

    direction: Direction = "rise"
    most_dimensions: int = 3
    most_findings: int = 5
    most_candidates: int = 10


def attribute(leaves: Leaves, options: Options | None = None) -> Attribution:
    """Find the causes of the change between the baseline and now."""
    options = options or Options()
    return _Attempt(leaves, options).answer()


class _Attempt:
    """One attribution: the leaves, what is expected of them, and which are still unexplained."""

    def __init__(self, leaves: Leaves, options: Options) -> None:
        self.options = options
        self.drop = options.direction == "drop"
        self.leaves = narrowed(leaves, drop=self.drop)
        rate = shrunk_rate(self.leaves)
        self.past_known = has_past(self.leaves)
        self.mean: Amounts = rate * self.leaves.of_now
        self.past: Amounts = rate * self.leaves.of_before
        self.groups: list[Group] = groups(self.leaves, options.most_dimensions)
        everything = np.ones(len(self.leaves), np.bool_)
        self.before, self.now = self.counts_before(everything), self.counts_now(everything)
        self.excess = float(self.leaves.bad_now.sum() - self.mean.sum())

    def answer(self) -> Attribution:
        if self.too_little():
            return self.with_verdict("too little data", [], [], 0.0)
        alive = np.ones(len(self.leaves), np.bool_)
        first = self.scan(alive)
        candidates = self.named(first, alive)[: self.options.most_candidates]
        findings: list[Finding] = []
        explained = 0.0
        rest = first
        while rest.best and rest.best[0].score > rest.bar and len(findings) < self.options.most_findings:
            found = self.named(rest, alive)[0]
            if findings and abs(found.excess) < LEAST_SHARE * abs(findings[0].excess):
                break
            findings.append(found)
            # The bar corrects for the search over combinations; the whole was not searched for.
            explained += rest.best[0].explains - rest.bar
            alive = alive & ~rest.best[0].mask()
            rest = self.scan(alive)
        if not findings or first.whole > explained:
            return self.with_verdict("global" if self.all_changed() else "nothing unusual", [], candidates, first.bar)
        return self.with_verdict("causes", findings, candidates, first.bar)

    def too_little(self) -> bool:
        if not self.past_known and (not self.leaves.is_rate or self.drop):
            return True
        amount = self.mean.sum() if self.drop else self.leaves.bad_now.sum()
        return bool(amount < LEAST_COUNT * self.leaves.grain)

    def all_changed(self) -> bool:
        columns = (self.leaves.bad_now, self.mean, self.leaves.bad_before, self.past)
        sums = [np.array([column.sum() / self.leaves.grain]) for column in columns]
        return self.past_known and bool(two_sample_evidence(*sums, drop=self.drop)[0] > LEAST_COUNT)

    def scan(self, alive: Mask) -> Scan:
        return scan(self.leaves, self.mean, self.past, self.groups, drop=self.drop, alive=alive)

    def named(self, found: Scan, alive: Mask) -> list[Finding]:
        """The candidates as findings; candidates that cover the same rows are one finding."""
        findings: list[Finding] = []
        for family in self.families(found.best, alive):
            lead = family[0]
            runner_up = next((other.score for other in found.best if other not in family), 0.0)
            findings.append(self.finding(lead, family[1:], alive, confidence(lead.score, runner_up, found.bar)))
            if len(findings) >= self.options.most_candidates:
                break
        return findings

    def families(self, candidates: Sequence[Candidate], alive: Mask) -> list[list[Candidate]]:
        rows = np.stack([(self.leaves.of_now + self.leaves.of_before) * alive, self.leaves.bad_now * alive])
        families: list[tuple[Mask, list[Candidate]]] = []
        for candidate in candidates:
            mask = candidate.mask()
            for other, family in families:
                shared, either = rows[:, mask & other].sum(axis=1), rows[:, mask | other].sum(axis=1)
                if np.all(shared >= SAME_ROWS * either):
                    family.append(candidate)
                    break
            else:
                families.append((mask, [candidate]))
        return [family for _, family in families]

    def finding(self, lead: Candidate, others: Sequence[Candidate], alive: Mask, sure: float) -> Finding:
        inside = lead.mask() & alive
        now, before = self.counts_now(inside), self.counts_before(inside)
        mean = float(self.mean[inside].sum())
        grain = self.leaves.grain
        ratio = now.bad / max(mean, grain)
        spread = math.sqrt(grain / (now.bad + grain / 2) + (grain / (before.bad + grain / 2) if self.past_known else 0))
        return Finding(
            dimensions=lead.name(self.leaves),
            aliases=[other.name(self.leaves) for other in others],
            before=before,
            now=now,
            outside_before=self.counts_before(~inside),
            outside_now=self.counts_now(~inside),
            expected=mean,
            excess=now.bad - mean,
            share=self.share(now.bad - mean),
            ratio=ratio,
            interval=(ratio * math.exp(-1.96 * spread), ratio * math.exp(1.96 * spread)),
            score=lead.score,
            confidence=sure,
            controls=self.controls(lead) if lead.order > 1 else [],
        )

    def controls(self, lead: Candidate) -> list[Control]:
        controls = []
        values = dict(zip(lead.group.dimensions, lead.group.values[lead.number], strict=True))
        for index in lead.group.dimensions:
            other = self.leaves.dimensions[index].codes != values[index]
            for same in lead.group.dimensions:
                if same != index:
                    other = other & (self.leaves.dimensions[same].codes == values[same])
            now, mean = self.counts_now(other), float(self.mean[other].sum())
            ratio = now.bad / max(mean, self.leaves.grain)
            controls.append(Control(self.leaves.dimensions[index].name, self.counts_before(other), now, ratio))
        return controls

    def share(self, excess: float) -> float:
        """`excess` as a part of the whole excess, without what moved the other way outside."""
        outside = self.excess - excess
        whole = excess + (min(outside, 0.0) if self.drop else max(outside, 0.0))
        return min(max(excess / whole, 0.0), 1.0) if whole else 0.0

    def counts_before(self, mask: Mask) -> Counts:
        return self._counts(self.leaves.bad_before, self.leaves.of_before, mask)

    def counts_now(self, mask: Mask) -> Counts:
        return self._counts(self.leaves.bad_now, self.leaves.of_now, mask)

    def _counts(self, bad: Amounts, of: Amounts, mask: Mask) -> Counts:
        total = of[mask].sum() if self.leaves.is_rate else of.max(initial=0.0)
        return Counts(float(bad[mask].sum()), float(total))

    def with_verdict(
        self, verdict: Verdict, findings: list[Finding], candidates: list[Finding], bar: float
    ) -> Attribution:
        return Attribution(
            verdict=verdict,
            findings=findings,
            before=self.before,
            now=self.now,
            expected=float(self.mean.sum()),
            excess=self.excess,
            explained=self.share(sum(found.excess for found in findings)),
            compared_with="the past" if self.past_known else "the rest",
            bar=bar,
            candidates=candidates,
        )
