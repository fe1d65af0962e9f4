"""How often planted causes are found, by kind and share of attempts affected, and how often a quiet window alarms.

Recall: planted causes that a finding names (by one of its names). Precision: findings that name a planted cause.
Kinds: one, two and three dimensions; several independent causes; noisy_host (the bad tenant runs mostly on one host);
alias (a label is another name of the tenant); global (everybody is hit); none (a quiet window).
"""

import argparse
import sys
import time
from collections import defaultdict

from harness import show
from rca_planting import KINDS, SHARES, TRACES, Planted, Trace, plant, read_trace
from rich.console import Console
from rich.table import Table

from millstream.analytics.rca import Attribution, attribute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer incidents, under 45 s")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    options = parser.parse_args()
    paths = sorted(TRACES.glob("*.csv.gz"))
    if not paths:
        sys.exit(0 if options.quick else f"no traces in {TRACES}")
    traces = [read_trace(path) for path in paths]
    each, began, incidents = (1 if options.quick else 8), time.perf_counter(), 0
    tally: dict[str, PlantedTally] = defaultdict(PlantedTally)
    for kind in KINDS:
        for share in SHARES if kind != "none" else (0.0,):
            for seed in range(each * (len(SHARES) if kind == "none" else 1)):
                trace: Trace = traces[seed % len(traces)]
                planted = plant(trace, kind, share, seed)
                tally[f"{kind} {share:.0%}" if share else kind].add(planted, attribute(planted.leaves))
                incidents += 1
        print(f"{kind}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    table = Table("kind, share hit", "incidents", "recall", "precision", "right verdict")
    for name, found in tally.items():
        table.add_row(name, str(found.incidents), *(f"{value:.2f}" for value in found.rates()))
    Console(stderr=True).print(table)
    quiet = tally["none"]
    results: dict[str, object] = {"incidents": incidents, "false_alarm_rate": 1 - quiet.verdicts / quiet.incidents}
    for name, found in tally.items():
        key = name.replace(" ", "_").replace("%", "_percent")
        results[key] = dict(zip(("recall", "precision", "right_verdict"), found.rates(), strict=True))
    show(results, options.json, options.quick)


class PlantedTally:
    """What was planted and found over some incidents."""

    def __init__(self) -> None:
        self.incidents = self.planted = self.found = self.named = self.right = self.verdicts = 0

    def add(self, planted: Planted, answer: Attribution) -> None:
        names = [[finding.dimensions, *finding.aliases] for finding in answer.findings]
        expected = {"global": "global", "none": "nothing unusual"}.get(planted.kind, "causes")
        self.incidents += 1
        self.verdicts += answer.verdict == expected
        self.planted += len(planted.causes)
        self.named += len(names)
        self.found += sum(any(name in cause for each in names for name in each) for cause in planted.causes)
        self.right += sum(any(name in cause for cause in planted.causes for name in each) for each in names)

    def rates(self) -> tuple[float, float, float]:
        """Recall (1 when nothing was planted), precision (1 when nothing was named), share of right verdicts."""
        recall = self.found / self.planted if self.planted else 1.0
        precision = self.right / self.named if self.named else 1.0
        return round(recall, 3), round(precision, 3), round(self.verdicts / self.incidents, 3)


if __name__ == "__main__":
    main()
