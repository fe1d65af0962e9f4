"""A cluster is lost and its workers go on at a mirrored one: nothing that was copied is lost, what runs again is told.

Offsets differ between the two, and the commits are copied with their text, which is right at the lost cluster only.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Producer, TopicPartition

from millstream.consumers.kafka.offset_ledger import Checkpoint, OffsetLedger
from millstream.consumers.kafka.running_elsewhere import ANNOUNCED
from millstream.local.broker import ApacheKafka, Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import EventKind, KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.integration.consumers.worker.handlers import jobs as handlers
from tests.support import brokers
from tests.support.eventlog import EventLog
from tests.support.fleet import Fleet
from tests.support.guarantees import History, NoJobLost, OneOutcomePerAttempt, OrderPerKey, figures, violations
from tests.support.lane_reader import Place, places_of_jobs
from tests.support.mirror import Mirror
from tests.support.running_worker import RunningWorker
from tests.support.scenarios import Scenario, lengths

WORKERS = 3
GATES = 16
TENANTS = ("acme", "globex", "initech")
KEYS = 6


@pytest.fixture
def doomed(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Iterator[ApacheKafka]:
    """The cluster that will be lost, with the same topics as `kafka`."""
    for cluster in brokers.apache(tmp_path / "doomed", 1):
        apply_topics(KafkaConnection(cluster.bootstrap), topics)
        yield cluster


@dataclass
class Accepted:
    """What the lost cluster acknowledged, and the jobs of each tenant and ordering key in their order."""

    ids: list[str] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)

    def submit(self, fleet: Fleet, jobs: list[NewJob]) -> None:
        ids = fleet.submit(jobs)
        self.ids += ids
        for job, job_id in zip(jobs, ids, strict=True):
            if job.ordering_key:
                self.keys.setdefault(f"{job.tenant}/{job.ordering_key}", []).append(job_id)


class Aborted:
    """Writes records to a lane in transactions that are aborted: each leaves a gap in the offsets."""

    def __init__(self, bootstrap: str, topics: TopicCatalogue) -> None:
        settings = KafkaConnection(bootstrap).producer(transactional_id=f"{topics.prefix}aborted", linger_ms=0)
        self._producer = Producer(settings)
        self._producer.init_transactions(20)
        self._lane = topics.lane("default")

    def write(self) -> None:
        self._producer.begin_transaction()
        for partition in range(4):
            self._producer.produce(self._lane, b"never committed", partition=partition)
        self._producer.flush(10)
        self._producer.abort_transaction(20)


@dataclass(frozen=True)
class Copy:
    """What the mirror holds before a worker starts there.

    `found`: where each accepted job is that was copied. `due`: those at or above the commits. `unfinished`: those
    without a final outcome. `misjudged`: unfinished ones that the copied text, believed, would end.
    """

    found: dict[str, Place]
    due: set[str]
    unfinished: set[str]
    misjudged: set[str]

    @classmethod
    def of(
        cls, accepted: Accepted, places: dict[str, Place], commits: Mapping[int, TopicPartition], log: EventLog
    ) -> Self:
        read_all(log)
        found = {each: places[each] for each in accepted.ids if each in places}
        unfinished = set(found) - log.finished
        return cls(
            found,
            {each for each, (partition, offset) in found.items() if offset >= commits[partition].offset},
            unfinished,
            {each for each in unfinished if is_claimed(commits[found[each][0]], found[each][1])},
        )


@pytest.mark.parametrize("shifted", [True, False], ids=["other offsets", "same offsets"])
@lengths("rounds", short=25, full=400)
def test_a_failover_to_a_mirrored_cluster_loses_no_job_and_says_what_runs_again(
    doomed: ApacheKafka,
    kafka: Broker,
    topics: TopicCatalogue,
    tmp_path: Path,
    scenario: Scenario,
    shifted: bool,
    rounds: int,
) -> None:
    """`shifted`: offsets differ, as after transactions that were aborted, and at a mirror that was used before."""
    gate, lane, group = tmp_path / "open", topics.lane("default"), f"{topics.prefix}workers"
    if shifted:
        run_some_jobs(kafka, topics)
    mirror = Mirror(doomed.bootstrap, kafka.bootstrap, topics, group)
    with Fleet(doomed.bootstrap, topics, tmp_path, seed=31) as fleet, mirror:
        accepted = work_until_lost(fleet, mirror, gate, rounds, Aborted(doomed.bootstrap, topics) if shifted else None)
        doomed.node(1).kill()
        mirror.stop()
    scenario.progress(f"{len(accepted.ids)} jobs accepted, the cluster is lost")
    gate.touch()

    log = EventLog(kafka.bootstrap, topics.events)
    commits = {number: commit for (topic, number), commit in mirror.translated[f"{group}.default"].items()}
    copy = Copy.of(accepted, places_of_jobs(kafka.bootstrap, lane), commits, log)
    copied_events = len(log.events)
    with Fleet(kafka.bootstrap, topics, tmp_path, seed=32) as fleet:
        fleet.start(WORKERS, handlers="tests.support.gated")
        deadline = time.monotonic() + 120
        while missing := copy.due - {each.job_id for each in log.events[copied_events:] if each.final}:
            tails = [worker.tail for worker in fleet.workers]
            assert time.monotonic() < deadline, f"{len(missing)} of {len(copy.due)} jobs never ended: {tails}"
            log.read()
        told = [line for worker in fleet.workers for line in ignored(worker.tail)]
        assert all(worker.stop(40) == 0 for worker in fleet.workers)
    read_all(log)
    log.close()

    here = log.events[copied_events:]
    ran = {each.job_id for each in here if each.kind is EventKind.STARTED}
    keys = {key: [each for each in ids if each in copy.found] for key, ids in accepted.keys.items()}
    whole = History(list(copy.found), log.events)
    scenario.figures(
        **figures(whole),
        not_copied=len(accepted.ids) - len(copy.found),
        unfinished=len(copy.unfinished),
        misjudged_by_copied_text=len(copy.misjudged),
        ran_again=len(ran - copy.unfinished),
        announced=sum(len(mirror.translated[f"{group}.handover-{slot}"]) for slot in range(2)),
        told=sum(line["finished"] or 0 for line in told),
    )
    assert violations(whole, [NoJobLost()]) == []
    assert violations(History(list(copy.due), here, keys), [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey()]) == []
    assert ran == copy.due, "all that is not committed runs, and nothing below a commit"
    assert copy.unfinished <= ran
    assert len(copy.unfinished) >= GATES
    assert told, "the workers say that the copied text is ignored"
    if shifted:
        assert copy.misjudged, "the copied text would have ended jobs that never ran"


def work_until_lost(fleet: Fleet, mirror: Mirror, gate: Path, rounds: int, aborted: Aborted | None) -> Accepted:
    """Jobs arrive and run, some go on and hold up others of their keys, and then all workers die at once."""
    accepted = Accepted()
    fleet.start(WORKERS, handlers="tests.support.gated")
    fleet.await_everyone(lambda: accepted.submit(fleet, [sleeps(fleet) for _ in range(5)]))
    first = rounds // 3
    for turn in range(rounds):
        holds_up = turn >= first and (turn - first) % max(1, (rounds - first) // GATES) == 0
        waiting = [waits(gate, turn)] if holds_up else []
        accepted.submit(fleet, [*waiting, *(sleeps(fleet) for _ in range(15))])
        if aborted is not None:
            aborted.write()
        fleet.pause(0.05, 0.15)
    # Its jobs go on after its partitions have moved: they are announced in commits, too.
    fleet.workers[0].terminate()
    fleet.await_line(fleet.workers[0], '"event": "worker_draining"')
    fleet.pause(2.0, 3.0)
    mirror.await_checkpoint()
    accepted.submit(fleet, [sleeps(fleet) for _ in range(200)])
    for worker in fleet.workers:
        worker.kill()
    return accepted


def run_some_jobs(broker: Broker, topics: TopicCatalogue) -> None:
    """The topics of the mirror have been used before, and its groups have commits."""
    log = EventLog(broker.bootstrap, topics.events)
    with (
        RunningWorker(broker.bootstrap, topics, handlers, "before"),
        JobClient(KafkaConnection(broker.bootstrap), topics) as client,
    ):
        log.until_finished(client.submit_many([NewJob("sleep", {}) for _ in range(60)]))
    log.close()


def sleeps(fleet: Fleet) -> NewJob:
    dice = fleet.dice
    key = f"key-{dice.randrange(KEYS)}" if dice.random() < 0.3 else ""
    seconds = 0.005 if key else dice.uniform(0.005, 0.2)
    return NewJob("sleeps", {"seconds": seconds}, tenant=dice.choice(TENANTS), ordering_key=key)


def waits(gate: Path, turn: int) -> NewJob:
    """A job that goes on until the gate is open; every fourth holds up all later jobs of its key."""
    key = f"key-{turn % KEYS}" if turn % 4 == 3 else ""
    return NewJob("waits-for-file", {"path": str(gate)}, tenant=TENANTS[0], ordering_key=key)


def read_all(log: EventLog) -> None:
    """Read until nothing has arrived for a second."""
    known = -1
    while known != len(log.events):
        known = len(log.events)
        log.read(1.0)


def is_claimed(commit: TopicPartition, offset: int) -> bool:
    """Whether whoever believes a copied text, wherever it is, takes a job at this offset for done."""
    text = (commit.metadata or "").removeprefix(ANNOUNCED)
    if not text:
        return False
    without_place = text[:4] + base64.b85encode(base64.b85decode(text[4:])[:-4]).decode()
    return offset >= commit.offset and OffsetLedger(Checkpoint(commit.offset, without_place)).is_finished(offset)


def ignored(output: str) -> list[dict[str, int]]:
    """The lines of a worker about text that it ignored."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "commit_metadata_ignored"]
