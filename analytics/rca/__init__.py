"""Root cause analysis: which tenants, types, hosts or releases a change comes from, with the evidence."""

from millstream.analytics.rca.attribution import (
    Attribution,
    Control,
    Counts,
    Direction,
    Finding,
    Options,
    Verdict,
    attribute,
)
from millstream.analytics.rca.leaves import Dimension, Leaves, UnevenLeaves
from millstream.analytics.rca.live import BaselineKind, Change, Evidence, Explanation, Metric, Window, explain

__all__ = [
    "Attribution",
    "BaselineKind",
    "Change",
    "Control",
    "Counts",
    "Dimension",
    "Direction",
    "Evidence",
    "Explanation",
    "Finding",
    "Leaves",
    "Metric",
    "Options",
    "UnevenLeaves",
    "Verdict",
    "Window",
    "attribute",
    "explain",
]
