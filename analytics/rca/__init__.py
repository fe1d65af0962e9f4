"""Root cause analysis: which tenants, types, hosts or releases a change comes from, with the evidence."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.analytics.rca.attribution.attribution import (
        Attribution,
        Control,
        Counts,
        Direction,
        Finding,
        Options,
        Verdict,
        attribute,
    )
    from millstream.analytics.rca.attribution.explain import Evidence, Explanation, NearbyChange, explain
    from millstream.analytics.rca.attribution.leaves import Dimension, Leaves, UnevenLeaves
    from millstream.analytics.rca.attribution.table_file import Columns, TableFile, UnreadableTable, read_table
    from millstream.analytics.rca.metrics import EXPLAINABLE, METRICS, Metric, UnknownMetric
    from millstream.analytics.rca.window import BaselineKind, Window
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "window": ("BaselineKind", "Window"),
            "attribution.attribution": (
                "Attribution",
                "Control",
                "Counts",
                "Direction",
                "Finding",
                "Options",
                "Verdict",
                "attribute",
            ),
            "attribution.explain": ("Evidence", "Explanation", "NearbyChange", "explain"),
            "attribution.leaves": ("Dimension", "Leaves", "UnevenLeaves"),
            "attribution.table_file": ("Columns", "TableFile", "UnreadableTable", "read_table"),
            "metrics": ("EXPLAINABLE", "METRICS", "Metric", "UnknownMetric"),
        },
    )

__all__ = [
    "EXPLAINABLE",
    "METRICS",
    "Attribution",
    "BaselineKind",
    "Columns",
    "Control",
    "Counts",
    "Dimension",
    "Direction",
    "Evidence",
    "Explanation",
    "Finding",
    "Leaves",
    "Metric",
    "NearbyChange",
    "Options",
    "TableFile",
    "UnevenLeaves",
    "UnknownMetric",
    "UnreadableTable",
    "Verdict",
    "Window",
    "attribute",
    "explain",
    "read_table",
]
