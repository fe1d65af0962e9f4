"""Incidents with known causes: a folder of CSV files with `causes.yaml`, and how an answer is judged."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from millstream.analytics.rca import Leaves, read_table

DEFAULT = Path(__file__).resolve().parents[2] / "shared/data/rca/robustspot"

Name = dict[str, str]


@dataclass(frozen=True)
class Case:
    """One incident. `group`: cases of one group resemble each other (the same stream) and are held out together."""

    name: str
    group: str
    leaves: Leaves
    causes: list[Name]


@dataclass(frozen=True)
class Judged:
    """One answer against the truth: is a true cause first, or among the first three names; how sure was the first."""

    first: bool
    in_three: bool
    right: int
    wrong: int
    missed: int
    sure: float = 0.0


def cases(folder: Path) -> Iterator[Case]:
    """The cases of a folder, the past of each weighted as `millstream rca explain --file` does."""
    for entry in yaml.safe_load((folder / "causes.yaml").read_text("utf-8")):
        found = entry["cause"]
        causes = [
            {key: str(value) for key, value in each.items()} for each in ([found] if isinstance(found, dict) else found)
        ]
        table = read_table(folder / f"{entry['data']}.csv.gz")
        yield Case(entry["data"], re.split(r"[_ ]", entry["data"])[-1], table.leaves(entry["timestamp"]), causes)


def judge(case: Case, ranked: Sequence[Sequence[Name]], named: Sequence[Name], sure: float = 0.0) -> Judged:
    """`ranked`: the findings, best first, each with its name and its other names; `named`: those called causes.

    Only the exact name of a true cause is right, nothing broader, narrower or overlapping. To count as first, a
    finding must have it as its own name; to count among the first three, as a name or alias.
    """
    right = [bool(ranked) and ranked[0][0] in case.causes]
    right += [any(name in case.causes for name in names) for names in ranked[:3]]
    hits = sum(name in case.causes for name in named)
    return Judged(any(right[:1]), any(right), hits, len(named) - hits, len(case.causes) - hits, sure)


def summary(judged: Sequence[Judged]) -> dict[str, float]:
    """top1, top3, and f1 over all causes of all cases."""
    right, wrong, missed = (sum(getattr(each, kind) for each in judged) for kind in ("right", "wrong", "missed"))
    return {
        "top1": round(float(np.mean([each.first for each in judged])), 4),
        "top3": round(float(np.mean([each.in_three for each in judged])), 4),
        "f1": round(2 * right / max(2 * right + wrong + missed, 1), 4),
    }
