"""The Prometheus metrics of a tracker, read from it when Prometheus scrapes them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from millstream.streams.lag import Behind
from millstream.streams.tracker import Tracker


@dataclass(frozen=True)
class TrackerCounter:
    """One counter. `name` is without the suffix `_total`."""

    name: str
    meaning: str
    read: Callable[[Tracker], float]


COUNTERS = (
    TrackerCounter("millstream_tracker_events", "Events that were applied to states.", lambda tracker: tracker.events),
    TrackerCounter(
        "millstream_tracker_duplicate_outcomes",
        "Outcomes of an attempt that had one already; should be 0 for ever.",
        lambda tracker: tracker.duplicate_outcomes,
    ),
    TrackerCounter(
        "millstream_tracker_reused_attempts",
        "Attempts that ran again under a number that had ended, as a job was submitted again under its id.",
        lambda tracker: tracker.reused_attempts,
    ),
    TrackerCounter(
        "millstream_tracker_unreadable",
        "Records of the events that cannot be decoded; changes when somebody else writes there.",
        lambda tracker: tracker.unreadable,
    ),
    TrackerCounter(
        "millstream_tracker_rejected",
        "Events with values that no event may have, such as impossible times.",
        lambda tracker: tracker.rejected,
    ),
    TrackerCounter(
        "millstream_tracker_offset_resets",
        "Partitions whose log no longer had the offset to go on at.",
        lambda tracker: tracker.offset_resets,
    ),
)


class _TrackerMetrics(Collector):
    def __init__(self, tracker: Tracker, ready: bool, behind: Behind | None) -> None:
        self._tracker, self._ready, self._behind = tracker, ready, behind

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for counter in COUNTERS:
            yield CounterMetricFamily(counter.name, counter.meaning, value=counter.read(self._tracker))
        jobs = GaugeMetricFamily(
            "millstream_tracker_jobs", "Jobs whose state this tracker holds, by state.", labels=["state"]
        )
        for state, count in self._tracker.by_state.items():
            jobs.add_metric([state.value], count)
        yield jobs
        yield GaugeMetricFamily(
            "millstream_tracker_ready", "1 once the states are recovered, 0 before.", value=float(self._ready)
        )
        if self._behind is not None:
            yield GaugeMetricFamily(
                "millstream_tracker_records_behind", "Offsets that are not applied yet.", value=self._behind.records
            )
            yield GaugeMetricFamily(
                "millstream_tracker_seconds_behind",
                "Age of the last applied event of the partition that is furthest behind; 0 when all are applied.",
                value=self._behind.seconds,
            )


def metrics_text(tracker: Tracker, ready: bool, behind: Behind | None) -> bytes:
    """The samples in the text format of Prometheus. `behind`: None while it is not known, and left out then."""
    registry = CollectorRegistry()
    registry.register(_TrackerMetrics(tracker, ready, behind))
    return generate_latest(registry)
