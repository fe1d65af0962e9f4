"""How often root cause attribution names the exact cause of real incidents, compared with other methods.

    bench/rca_accuracy.py ../shared/data/rca/robustspot --json

Any folder with a `causes.yaml` (`data`, `timestamp` in s, `cause`: attribute -> value, or a list of such) and a gzipped
CSV for each case (`min`, `value`, `cnt`, and attributes). Every method gets the same leaves, the same weighting of the
past, and the same judge: only the exact name of the true cause is right; for top1 it must be the
name of the first finding, for top3 a name or alias of one of the first three.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness import show
from rca_baselines import BASELINES
from rca_cases import DEFAULT, Case, Judged, Name, cases, judge, summary

from millstream.analytics.rca import attribute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--misses", action="store_true", help="print each case whose cause is not named first")
    options = parser.parse_args()
    if not (options.folder / "causes.yaml").exists():
        sys.exit(0 if options.quick else f"{options.folder} has no causes.yaml")
    found = list(cases(options.folder))
    judged, ms = run(found, engine, options.misses)
    results: dict[str, object] = {"cases": len(found), **summary(judged), "ms_per_case": ms, **calibration(judged)}
    for name, method in BASELINES.items():
        others, ms = run(found, lambda case, method=method: alone(case, *method(case.leaves)))  # type: ignore[misc]
        results[name] = {**summary(others), "ms_per_case": ms}
    show(results, options.json, options.quick)


def engine(case: Case) -> Judged:
    found = attribute(case.leaves)
    ranked: list[list[Name]] = [[each.dimensions, *each.aliases] for each in found.candidates]
    named: list[Name] = [each.dimensions for each in found.findings]
    return judge(case, ranked, named, found.candidates[0].confidence if found.candidates else 0.0)


def alone(case: Case, ranked: list[Name], named: list[Name]) -> Judged:
    """The answer of a method without aliases."""
    return judge(case, [[name] for name in ranked], named)


def run(found: list[Case], method: Callable[[Case], Judged], misses: bool = False) -> tuple[list[Judged], float]:
    """The answers and the mean time of one in ms."""
    began = time.perf_counter()
    judged = [method(case) for case in found]
    ms = round((time.perf_counter() - began) / len(found) * 1000, 2)
    for case, each in zip(found, judged, strict=True):
        if misses and not each.first:
            nearest = [candidate.dimensions for candidate in attribute(case.leaves).candidates[:3]]
            print(f"{case.name}: {case.causes}, named {nearest}", file=sys.stderr)
    return judged, ms


def calibration(judged: list[Judged]) -> dict[str, float]:
    """Mean confidence of the first candidate, which should be top1, and its Brier score."""
    sure, right = [each.sure for each in judged], [each.first for each in judged]
    brier = sum((p - hit) ** 2 for p, hit in zip(sure, right, strict=True)) / len(judged)
    return {"mean_confidence": round(sum(sure) / len(sure), 4), "brier": round(brier, 4)}


if __name__ == "__main__":
    main()
