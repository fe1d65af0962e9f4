"""Two workers with the shipped settings, a tenant that does its worst, and the jobs of others beside it."""

import time
from pathlib import Path

import pytest

from millstream.local.broker import Broker
from millstream.producers import NewJob
from millstream.schemas import TopicCatalogue
from tests.support.bad_neighbour import BadNeighbour
from tests.support.derived import assert_rows_of
from tests.support.fleet import KEYS, TENANTS, Fleet
from tests.support.guarantees import NoJobLost, OneOutcomePerAttempt, OrderPerKey
from tests.support.scenarios import Scenario, assert_held, lengths
from tests.support.services import MemoryPeaks, Services

WORKERS = 2
FULL_S = 600
LONGEST_P95_S = 2.0
RESTARTS = 1
"""How often a service may restart in the whole scenario."""

MOST_MB = {"tracker": 1_000, "sink": 1_500, "w0": 1_000, "w1": 1_000}
"""The most resident memory of each service, with its children."""


@pytest.fixture
def fleet(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Fleet:
    return Fleet(kafka.bootstrap, topics, tmp_path, seed=7, beside_others=True, settings={})


@lengths("seconds", short=20, full=FULL_S)
def test_a_bad_neighbour_costs_others_no_job_and_less_than_two_seconds(
    fleet: Fleet, kafka: Broker, topics: TopicCatalogue, tmp_path: Path, scenario: Scenario, seconds: int
) -> None:
    def short_job(number: int) -> NewJob:
        key = fleet.dice.choice(KEYS) if number == 0 else ""
        return NewJob("well-behaved", {"seconds": 0.01}, tenant=fleet.dice.choice(TENANTS), ordering_key=key)

    neighbour = BadNeighbour(kafka.bootstrap, topics, seed=7)
    with fleet, Services(kafka.bootstrap, topics, tmp_path) as services, neighbour:
        fleet.start(WORKERS, "--processes", "1", handlers="tests.support.misbehaving")
        fleet.feed(50, short_job)
        fleet.await_ends(300)
        pids = services.pids() | {f"w{number}": worker.pid for number, worker in enumerate(fleet.workers)}
        turn_s = max(1.0, seconds / (4 * len(neighbour.attacks)))
        until, turns = time.monotonic() + seconds, 0
        with MemoryPeaks(pids) as memory:
            while time.monotonic() < until or turns < len(neighbour.attacks):
                attack = neighbour.attacks[turns % len(neighbour.attacks)]
                attack()
                neighbour.flush()
                turns += 1
                scenario.progress(f"{attack.__name__}, MB {memory.peaks_mb}")
                fleet.pause(turn_s, turn_s)
            history = fleet.history()
            assert_rows_of(history, services.client)
        assert services.pids() == {name: pid for name, pid in pids.items() if name not in ("w0", "w1")}
        restarts = fleet.process_deaths()
        waits = sorted(event.wait_ms for event in history.outcomes if event.wait_ms is not None)
        p95_s = waits[len(waits) * 95 // 100] / 1000
        assert_held(
            scenario,
            history,
            [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey()],
            turns=turns,
            p95_wait_s=f"{p95_s:.2f}",
            restarts=sum(restarts),
            **{f"{name}_mb": peak for name, peak in memory.peaks_mb.items()},
        )
        # In the short form the attacks follow each other too closely to say anything about waits.
        assert p95_s < LONGEST_P95_S or seconds < FULL_S
        assert max(restarts) <= RESTARTS, restarts
        above = {name: peak for name, peak in memory.peaks_mb.items() if peak > MOST_MB.get(name, peak)}
        assert not above
