"""Wait of a job at low load, beside other job runtimes: 50 jobs a second, submitted one by one.

The wait is from just before a job's submission to the handler's first line, by the clock of the machine on which
broker, worker and submitter run. The first second is warm-up and left out.

submit_to_start_p50_ms, _p95_ms, _p99_ms         Millstream with all events on
NAME_submit_to_start_p50_ms, _p95_ms, _p99_ms    dramatiq, celery (acks_late), taskiq_redis (streams), taskiq_kafka
missing                                          peers that could not be run here, each with the reason
"""

import statistics

from harness import Harness, Value
from peers.systems import Millstream, PacedSystem, peers, working

PER_SECOND = 50


def main() -> None:
    harness = Harness(__doc__)
    seconds = 2 if harness.quick else 30
    results: dict[str, Value] = {}
    with harness.stack() as stack, peers(harness, stack) as others:
        systems: list[PacedSystem] = [Millstream(stack), *others]
        for system in systems:
            with others.trying(system):
                waits = trickle(harness, system, seconds)
                prefix = "" if system.name == "millstream" else f"{system.name}_"
                quantiles = statistics.quantiles(waits, n=100, method="inclusive")
                results |= {
                    f"{prefix}submit_to_start_p{rank}_ms": round(quantiles[rank - 1], 2) for rank in (50, 95, 99)
                }
    results["missing"] = others.missing
    harness.finish(results)


def trickle(harness: Harness, system: PacedSystem, seconds: int) -> list[float]:
    """Waits of jobs submitted at a constant rate, in milliseconds, in the order of the starts."""
    with harness.step(system.name, PER_SECOND * seconds) as advance, working(system) as worker:
        warm_up = system.submit("nap", 1)
        worker.wait_for(warm_up)
        total = warm_up + system.pace(PER_SECOND, PER_SECOND * (seconds + 1))
        worker.wait_for(total)
        advance(PER_SECOND * seconds)
        return worker.waits_ms[PER_SECOND:]


if __name__ == "__main__":
    main()
