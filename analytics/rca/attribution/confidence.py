"""Confidence of a finding, calibrated on real incidents with known causes."""

import math

WEIGHTS = (-1.99, 0.2, 1.21)
"""Intercept, weight of the lead over the runner-up, weight of the height above chance (docs/rca.md)."""


def confidence(score: float, runner_up: float, bar: float) -> float:
    """Probability that the combination with `score` is exactly the cause.

    `runner_up`: the best score of another set of rows; `bar`: the score that the best of pure noise reaches; in nats.
    """
    lead, height = features(score, runner_up, bar)
    return 1 / (1 + math.exp(-(WEIGHTS[0] + WEIGHTS[1] * lead + WEIGHTS[2] * height)))


def features(score: float, runner_up: float, bar: float) -> tuple[float, float]:
    """What the confidence is a logistic function of: ln(1 + lead over the runner-up), ln of the height above chance."""
    return math.log1p(max(score - runner_up, 0.0)), math.log(max(score, 1.0) / max(bar, 1.0))
