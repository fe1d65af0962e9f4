"""Cross-validation of the constants of root cause attribution: their best values, and the accuracy to expect.

Every combination of a small grid is scored on all cases. Then, for each group of cases (one stream's incidents), the
combination that is best on all other groups is used on it: `top1` and `top3` are the accuracy when no
case takes part in choosing the constants it is judged with. The confidence's weights are fitted in the same way.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import show
from rca_accuracy import engine
from rca_cases import DEFAULT, Case, Judged, cases, summary

from millstream.analytics.rca import attribute
from millstream.analytics.rca.attribution import baseline, scan, table_file
from millstream.analytics.rca.attribution.confidence import features

GRID = {
    (scan, "WANDER"): (0.15, 0.25, 0.4),
    (scan, "ORDER_COST"): (0.5, 1.0, 2.0),
    (table_file, "RECENCY"): (0.7, 1.0),
    (baseline, "EFFECT"): (0.25, 0.75),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--quick", action="store_true", help="two combinations only, under 45 s")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    options = parser.parse_args()
    if not (options.folder / "causes.yaml").exists():
        sys.exit(0 if options.quick else f"{options.folder} has no causes.yaml")
    chosen = tuple(getattr(module, name) for module, name in GRID)
    combinations = list(itertools.product(*GRID.values()))
    answers: dict[tuple[float, ...], list[Judged]] = {}
    for number, combination in enumerate(combinations[-1:] if options.quick else combinations):
        answers[combination] = with_constants(combination, options.folder)
        print(f"{number + 1}/{len(combinations)} {combination}: {summary(answers[combination])}", file=sys.stderr)
    answers[chosen] = with_constants(chosen, options.folder)
    found = list(cases(options.folder))
    groups = [case.group for case in found]
    held_out = [judge_held_out(answers, groups, index) for index in range(len(groups))]
    top1 = [np.mean([each.first for each in judged]) for judged in answers.values()]
    weights, brier = calibrate(found, answers[chosen], groups)
    results: dict[str, object] = {
        "cases": len(groups),
        "groups": len(set(groups)),
        **summary(held_out),
        "chosen": dict(zip((name for _, name in GRID), chosen, strict=True)),
        "chosen_alone": summary(answers[chosen]),
        "combinations": len(answers),
        "top1_over_grid": [round(float(value), 4) for value in (min(top1), np.median(top1), max(top1))],
        "confidence_weights": [round(float(weight), 2) for weight in weights],
        "confidence_brier": round(brier, 4),
    }
    show(results, options.json, options.quick)


def with_constants(combination: Sequence[float], folder: Path) -> list[Judged]:
    """The answers to all cases with other constants."""
    before = [getattr(module, name) for module, name in GRID]
    try:
        for (module, name), value in zip(GRID, combination, strict=True):
            setattr(module, name, value)
        return [engine(case) for case in cases(folder)]
    finally:
        for (module, name), value in zip(GRID, before, strict=True):
            setattr(module, name, value)


def judge_held_out(answers: dict[tuple[float, ...], list[Judged]], groups: list[str], index: int) -> Judged:
    """The answer to one case, by the constants that are best on the groups it does not belong to."""

    def elsewhere(judged: list[Judged]) -> float:
        others = [each for each, group in zip(judged, groups, strict=True) if group != groups[index]]
        return float(np.mean([each.first + each.in_three / 2 for each in others]))

    return max(answers.values(), key=elsewhere)[index]


def calibrate(found: list[Case], judged: list[Judged], groups: list[str]) -> tuple[np.ndarray, float]:
    """Weights of the confidence fitted on all cases, and its Brier score when each group is held out."""
    rows = []
    for case in found:
        answer = attribute(case.leaves)
        first, second = answer.candidates[0].score, answer.candidates[1].score if len(answer.candidates) > 1 else 0.0
        rows.append((1.0, *features(first, second, answer.bar)))
    x, y = np.array(rows), np.array([each.first for each in judged], np.float64)
    errors = []
    for group in sorted(set(groups)):
        held = np.array([each == group for each in groups])
        weights = logistic(x[~held], y[~held])
        errors += list((1 / (1 + np.exp(-x[held] @ weights)) - y[held]) ** 2)
    return logistic(x, y), float(np.mean(errors))


def logistic(x: np.ndarray, y: np.ndarray, ridge: float = 0.1) -> np.ndarray:
    """Weights of a logistic regression with a small ridge, by Newton's method."""
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (p - y) + ridge * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(x.shape[1])
        weights -= np.linalg.solve(curve, slope)
    return weights


if __name__ == "__main__":
    main()
