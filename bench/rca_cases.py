"""Incidents with known causes: a folder of CSV files with `causes.yaml`, and how an answer to one is judged."""

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

    def rows(self, name: Name) -> bytes | None:
        """Which leaves a combination covers, as something to compare; None when it names what does not exist."""
        mask = np.ones(len(self.leaves), np.bool_)
        known = {dimension.name: dimension for dimension in self.leaves.dimensions}
        for dimension, value in name.items():
            if dimension not in known or value not in known[dimension].values:
                return None
            mask &= known[dimension].codes == list(known[dimension].values).index(value)
        return mask.tobytes()


@dataclass(frozen=True)
class Judged:
    """One answer against the truth. `first` and `in_three`: a true cause is first, or among the first three."""

    first: bool
    in_three: bool
    first_by_name: bool
    in_three_by_name: bool
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


def judge(case: Case, ranked: Sequence[Name], named: Sequence[Name], sure: float = 0.0) -> Judged:
    """`ranked`: all candidates, best first; `named`: those that the method calls causes.

    A combination is right when it covers exactly the rows of a true cause, whatever it calls them: where all requests
    of cdn 5 are p2p 0, no counts can tell "cdn 5" from "cdn 5 and p2p 0". `..._by_name` asks for the very name.
    """
    true_rows = {case.rows(cause) for cause in case.causes} - {None}
    right = [case.rows(name) in true_rows for name in ranked[:3]]
    by_name = [name in case.causes for name in ranked[:3]]
    hits = {rows for rows in map(case.rows, named) if rows in true_rows}
    wrong = sum(case.rows(name) not in true_rows for name in named)
    return Judged(
        first=any(right[:1]),
        in_three=any(right),
        first_by_name=any(by_name[:1]),
        in_three_by_name=any(by_name),
        right=len(hits),
        wrong=wrong,
        missed=len(case.causes) - len(hits),
        sure=sure,
    )


def summary(judged: Sequence[Judged]) -> dict[str, float]:
    """top1, top3, f1 (over all causes of all cases), and the first two by the very name."""
    right, wrong, missed = (sum(getattr(each, kind) for each in judged) for kind in ("right", "wrong", "missed"))
    return {
        "top1": round(float(np.mean([each.first for each in judged])), 4),
        "top3": round(float(np.mean([each.in_three for each in judged])), 4),
        "f1": round(2 * right / max(2 * right + wrong + missed, 1), 4),
        "top1_by_name": round(float(np.mean([each.first_by_name for each in judged])), 4),
        "top3_by_name": round(float(np.mean([each.in_three_by_name for each in judged])), 4),
    }
