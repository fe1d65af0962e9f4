"""No-op jobs per second of a worker, beside other job runtimes on the same machine.

Every system gets its jobs first and its worker then; the warm-up, a fifth of the jobs, is left out. All run the same
job with one and with two worker processes, each with the default concurrency of its project.
Millstream writes all events. Brokers and workers share the cores of the machine.

NAME_jobs_per_s, NAME_2_processes_jobs_per_s    for millstream, dramatiq, celery (acks_late), taskiq_redis (streams),
                                                taskiq_kafka, and bare_loop, the limit (see peers/bare_loop.py)
NAME_cpu_s_per_1000_jobs                        CPU time of the worker's processes, in seconds
NAME_memory_mb, NAME_memory_mb_per_1000_jobs    their resident memory at the end, and by how much it grew
ratio_to_best_at_least_once_peer                one process each; taskiq_kafka may lose jobs and does not count
ratio_to_bare_loop                              one process each
missing                                         peers that could not be run here, each with the reason
"""

from dataclasses import asdict

from harness import Harness, Value
from peers.systems import BareLoop, Millstream, Run, System, measure, peers, working

JOBS = {"millstream": 150_000, "bare_loop": 600_000, "celery": 6_000}
PEER_JOBS = 15_000
QUICK = 10


def main() -> None:
    harness = Harness(__doc__)
    results: dict[str, Value] = {}
    rates: dict[str, float] = {}
    with harness.stack() as stack, peers(harness, stack) as others:
        own: list[System] = [Millstream(stack), BareLoop(stack)]
        for processes in (1,) if harness.quick else (1, 2):
            for system in [*own, *others]:
                jobs = JOBS.get(system.name, PEER_JOBS) // (QUICK if harness.quick else 1)
                with others.trying(system):
                    run = run_jobs(harness, system, jobs, processes)
                    name = system.name if processes == 1 else f"{system.name}_{processes}_processes"
                    results |= {f"{name}_{key}": value for key, value in asdict(run).items()}
                    rates.setdefault(system.name, run.jobs_per_s)
        best = max((rates[peer.name] for peer in others if peer.at_least_once), default=None)
    results |= {
        "ratio_to_best_at_least_once_peer": ratio(rates["millstream"], best),
        "ratio_to_bare_loop": ratio(rates["millstream"], rates["bare_loop"]),
        "missing": others.missing,
    }
    harness.finish(results)


def run_jobs(harness: Harness, system: System, jobs: int, processes: int) -> Run:
    with harness.step(f"{system.name}, {processes} processes" if processes > 1 else system.name, jobs) as advance:
        total = system.submit("noop", jobs)
        with working(system, processes) as worker:
            run = measure(worker, total // 5, total)
        advance(jobs)
        return run


def ratio(mine: float, other: float | None) -> float | None:
    return round(mine / other, 2) if other else None


if __name__ == "__main__":
    main()
