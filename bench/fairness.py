"""Wait of a small tenant while another one floods the queue, beside other job runtimes.

One process runs 8 jobs at once. A tenant floods it with jobs of 20 ms; from the same moment on another tenant submits
one job a second, at least until the flood could have been processed. A small job's wait is from just before its
submission to the handler's first line. Where a system has no tenants, both use its one queue. Larger floods are
measured on Millstream only, for 30 s each.

NAME_small_tenant_p95_wait_ms                     flood of 10,000 jobs
millstream_small_tenant_FLOOD_flood_p95_wait_ms   floods of 100,000 and of 1,000,000, not with --quick
missing                                           peers that could not be run here, each with the reason

With --quick the flood is 800 jobs and the small tenant submits four jobs a second.
"""

import statistics
from concurrent.futures import ThreadPoolExecutor

from harness import Harness, Value
from peers.systems import Millstream, PacedSystem, peers, working

CONCURRENCY = 8
NAP_S = 0.02


def main() -> None:
    harness = Harness(__doc__)
    flood, per_second = (800, 4.0) if harness.quick else (10_000, 1.0)
    results: dict[str, Value] = {}
    with harness.stack() as stack, peers(harness, stack) as others:
        systems: list[PacedSystem] = [Millstream(stack), *others]
        for system in systems:
            with others.trying(system):
                small = round(flood * NAP_S / CONCURRENCY * per_second)
                waits = small_waits(harness, system, flood, small, per_second)
                results[f"{system.name}_small_tenant_p95_wait_ms"] = p95(waits)
        for larger in () if harness.quick else (100_000, 1_000_000):
            waits = small_waits(harness, Millstream(stack), larger, 30, 1.0, to_the_end=False)
            results[f"millstream_small_tenant_{larger}_flood_p95_wait_ms"] = p95(waits)
    results["missing"] = others.missing
    harness.finish(results)


def small_waits(
    harness: Harness, system: PacedSystem, flood: int, small: int, per_second: float, to_the_end: bool = True
) -> list[float]:
    """The wait of each job of the small tenant, in milliseconds. Does not wait for the flood unless `to_the_end`."""
    with harness.step(f"{system.name}, {flood:,}", small) as advance, working(system, 1, CONCURRENCY) as worker:
        warm_up = system.submit("nap", 1)
        worker.wait_for(warm_up)
        with ThreadPoolExecutor(1) as flooding:
            flooded = flooding.submit(system.submit, "nap", flood, NAP_S)
            paced = system.pace(per_second, small)
            jobs = flooded.result() + paced
        if to_the_end:
            worker.wait_for(warm_up + jobs)
        while len(waits := worker.waits_ms) < small:
            worker.wait_for(worker.jobs_done + 1)
        advance(small)
        return waits


def p95(waits: list[float]) -> float:
    return round(statistics.quantiles(waits, n=20, method="inclusive")[-1], 1)


if __name__ == "__main__":
    main()
