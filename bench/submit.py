"""Submits per second of one process, beside other job runtimes on the same machine.

A submit counts when the broker has acknowledged it: Kafka with all in-sync replicas, Redis once it has written its
append-only file (flushed to disk each second). No worker runs meanwhile. All submit the same job.

NAME_bulk_submits_per_s               many at once, in the fastest way that the project has: submit_many for Millstream,
                                      one connection and a loop for Dramatiq and Celery, 500 gathered for taskiq
NAME_one_by_one_submits_per_s         each after the one before was acknowledged
millstream_async_..._submits_per_s    the same with the asyncio client; taskiq has no other
millstream_ordered_bulk_submits_per_s each job with an ordering key of its own
bulk_ratio_to_best_peer               millstream_bulk to the best peer's, taskiq_kafka among them
missing                               peers that could not be run here, each with the reason
"""

import asyncio
import time

from harness import Harness, Value
from peers.systems import BATCH, Millstream, peers

from millstream.local.stack import LocalStack
from millstream.producers import AsyncJobClient, NewJob

PAYLOAD = {"at": None, "seconds": 0.0}


def main() -> None:
    harness = Harness(__doc__)
    bulk, peers_bulk, singles = (60_000, 3_000, 500) if harness.quick else (600_000, 20_000, 5_000)
    results: dict[str, Value] = {}
    with harness.stack() as stack, peers(harness, stack) as others:
        with harness.step("millstream", 5) as advance:
            results |= one_client(stack, bulk, singles)
            advance(3)
            results |= asyncio.run(one_async_client(stack, bulk, singles))
            advance(2)
        for peer in others:
            with others.trying(peer), harness.step(peer.name, 2) as advance:
                results[f"{peer.name}_bulk_submits_per_s"] = rate(peers_bulk, peer.drive("bulk", "noop", peers_bulk, 0))
                advance(1)
                results[f"{peer.name}_one_by_one_submits_per_s"] = rate(
                    singles, peer.drive("single", "noop", singles, 0)
                )
                advance(1)
        rivals = [float(str(results[f"{peer.name}_bulk_submits_per_s"])) for peer in others]
    mine = float(str(results["millstream_bulk_submits_per_s"]))
    results["bulk_ratio_to_best_peer"] = round(mine / max(rivals), 2) if rivals else None
    results["missing"] = others.missing
    harness.finish(results)


def one_client(stack: LocalStack, bulk: int, singles: int) -> dict[str, Value]:
    plain = [NewJob("bench.noop", PAYLOAD)] * BATCH
    ordered = [NewJob("bench.noop", PAYLOAD, ordering_key=f"order-{number}") for number in range(BATCH)]
    measured: dict[str, Value] = {}
    with Millstream(stack).client() as client:
        client.submit("bench.noop", PAYLOAD)
        for name, jobs in (("", plain), ("ordered_", ordered)):
            began = time.perf_counter()
            for _ in range(bulk // BATCH):
                client.submit_many(jobs)
            measured[f"millstream_{name}bulk_submits_per_s"] = rate(bulk, time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(singles):
            client.submit("bench.noop", PAYLOAD)
        measured["millstream_one_by_one_submits_per_s"] = rate(singles, time.perf_counter() - began)
    return measured


async def one_async_client(stack: LocalStack, bulk: int, singles: int) -> dict[str, Value]:
    jobs = [NewJob("bench.noop", PAYLOAD)] * BATCH
    measured: dict[str, Value] = {}
    async with AsyncJobClient(stack.settings.connection, stack.settings.catalogue) as client:
        await client.submit("bench.noop", PAYLOAD)
        began = time.perf_counter()
        for _ in range(bulk // BATCH):
            await client.submit_many(jobs)
        measured["millstream_async_bulk_submits_per_s"] = rate(bulk, time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(singles):
            await client.submit("bench.noop", PAYLOAD)
        measured["millstream_async_one_by_one_submits_per_s"] = rate(singles, time.perf_counter() - began)
    return measured


def rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1)


if __name__ == "__main__":
    main()
