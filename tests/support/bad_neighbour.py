"""A tenant that does its worst: with jobs that it may submit, and with records that it writes past every client."""

import itertools
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from confluent_kafka import KafkaException, Producer

from millstream.producers import InvalidJob, JobClient, NewJob, SubmitError
from millstream.schemas import Codec, EventKind, Heartbeat, JobEvent, JobRequest, KafkaConnection, TopicCatalogue
from millstream.schemas.codec import HEADER
from millstream.schemas.ids import new_id
from millstream.schemas.registry import pinned_schemas
from tests.support.random_records import RandomRecords

TENANT = "mallory"

LEFT_OPEN = """
import os, sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1], "transactional.id": sys.argv[2], "transaction.timeout.ms": 5000})
producer.init_transactions(10)
producer.begin_transaction()
for partition in range(int(sys.argv[4])):
    producer.produce(sys.argv[3], b"never committed", partition=partition)
producer.flush(10)
os._exit(0)
"""
"""Leaves a transaction open in every partition of a topic, for as long as the worst client of Millstream's may."""


class BadNeighbour:
    """Its attacks in turn. Use it in a `with` block.

    The client is the public one; `_write` goes past it, as whoever has the right to write to a topic may.
    """

    def __init__(self, bootstrap: str, topics: TopicCatalogue, seed: int) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._dice = random.Random(seed)
        self._codec = Codec()
        self._client = JobClient(KafkaConnection(bootstrap), topics, source=TENANT)
        # A producer without idempotence, so that a record that the broker refuses costs nothing but itself.
        options = {"enable_idempotence": False, "queue_buffering_max_kbytes": 500_000}
        self._producer = Producer(KafkaConnection(bootstrap).producer(**options))
        self._records = iter(RandomRecords(topics, seed, long_values=100))
        self.attacks: tuple[Callable[[], object], ...] = (
            self.flood,
            self.flood_of_one_key,
            self.long_labels,
            self.swallow_cancellations,
            self.records_larger_than_their_dead_letter,
            self.forged_rows,
            self.hold_the_interpreter,
            self.events_of_ten_thousand_days,
            self.broken_text,
            self.marks_and_states_that_do_not_fit,
            self.threads_that_never_return,
            self.ghosts,
            self.schemas_that_nobody_announced,
            self.leave_programs_behind,
            self.made_up_types_and_tenants,
            self.leave_a_transaction_open,
            self.fail_at_length,
            self.everything_at_random,
        )

    def __enter__(self) -> "BadNeighbour":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def flood(self) -> None:
        self._submit(NewJob("well-behaved", {"seconds": 0.05}, tenant=TENANT) for _ in range(2_000))

    def flood_of_one_key(self) -> None:
        jobs = (NewJob("well-behaved", {"seconds": 0.01}, tenant=TENANT, ordering_key="mine") for _ in range(500))
        self._submit(jobs)

    def long_labels(self) -> None:
        for _ in range(20):
            request = self._request(labels={"a": "L" * 900_000})
            self._write(self._topics.lane("default"), self._codec.encode(request))

    def swallow_cancellations(self) -> None:
        self._submit(NewJob("swallows-its-cancellation", {"seconds": 10.0}, tenant=TENANT) for _ in range(8))

    def records_larger_than_their_dead_letter(self) -> None:
        for topic in (self._topics.lane("default"), self._topics.overflow("default"), self._topics.events):
            self._write(topic, b"no record", b"K" * 1_600_000)
            self._write(topic, self._codec.header("JobEvent") + b"\xff" * 2_000_000, b"K" * 900_000)

    def forged_rows(self) -> None:
        """Events that open a text and do not close it, followed by what would close it behind the next record."""
        whole = self._codec.encode(self._event(stack="S"))
        opened = whole[:-3] + b"\x80\x08"
        for _ in range(20):
            self._write(self._topics.events, opened)
            self._write(self._topics.events, HEADER.pack(0, 2) + b"\0" + whole * 3)

    def hold_the_interpreter(self) -> None:
        self._submit([NewJob("holds-the-lock", {"seconds": 3}, tenant=TENANT)])

    def events_of_ten_thousand_days(self) -> None:
        first = datetime(1990, 1, 1, tzinfo=UTC)
        for day in range(10_000):
            moment = first + timedelta(days=day)
            self._write(self._topics.events, self._codec.encode(self._event(submitted_at=moment, occurred_at=moment)))

    def broken_text(self) -> None:
        for topic, record in (
            (self._topics.events, self._event(worker_id="BREAK-ME")),
            (self._topics.lane("default"), self._request(source="BREAK-ME")),
            (self._topics.heartbeats, Heartbeat(worker_id="BREAK-ME")),
        ):
            self._write(topic, self._codec.encode(record).replace(b"BREAK-ME", b"\xb9\xff\xfe\x80\0\xc0\xaf\xed"))

    def marks_and_states_that_do_not_fit(self) -> None:
        self._write(self._topics.events, self._codec.encode(self._event(execution_id="a=b:1~2", attempt=1)))
        self._write(self._topics.events, self._codec.encode(self._event(job_id="x" * 1_600_000)))
        self._write(self._topics.events, self._codec.encode(self._event(labels={"a": "x" * 2_900_000})))

    def threads_that_never_return(self) -> None:
        self._submit(NewJob("never-returns", {}, tenant=TENANT) for _ in range(2))

    def ghosts(self) -> None:
        for number in range(300):
            ghost = Heartbeat(worker_id=f"ghost-{number}", transactional_id=f"{self._topics.prefix}ghost-{number}")
            self._write(self._topics.heartbeats, self._codec.encode(ghost), b"ghost")
        for number in range(2):
            name = f"{self._topics.prefix}w{number}"
            claim = Heartbeat(worker_id=f"ghost-of-{name}", transactional_id=f"{self._topics.prefix}worker-{name}")
            self._write(self._topics.heartbeats, self._codec.encode(claim), b"ghost")

    def schemas_that_nobody_announced(self) -> None:
        for number in range(50):
            value = HEADER.pack(0, max(pinned_schemas()) + 1 + number) + b"from the future"
            self._write(self._topics.lane("default"), value)
            self._write(self._topics.events, value)

    def leave_programs_behind(self) -> None:
        self._submit([NewJob("leaves-programs-behind", {}, tenant=TENANT)])

    def made_up_types_and_tenants(self) -> None:
        for number in range(500):
            self._submit([NewJob(f"made-up-{number}", {}, tenant=f"{TENANT}-{new_id()}", labels={f"k{number}": "v"})])

    def leave_a_transaction_open(self) -> None:
        lane = next(topic for topic in self._topics if topic.name == self._topics.lane("default"))
        arguments = [self._bootstrap, f"{self._topics.prefix}mallory-{new_id()}", lane.name, str(lane.partitions)]
        subprocess.run([sys.executable, "-c", LEFT_OPEN, *arguments], check=True, timeout=60)

    def fail_at_length(self) -> None:
        payload = {"a": "x" * 400_000}
        self._submit(NewJob("fails-at-length", payload, tenant=TENANT, max_attempts=3) for _ in range(10))

    def everything_at_random(self) -> None:
        for record in islice(self._records, 1_000):
            self._write(record.topic, record.value, record.key)

    def _submit(self, jobs: Any) -> None:
        with suppress(InvalidJob, SubmitError):
            self._client.submit_many(list(jobs))

    def _write(self, topic: str, value: bytes | None, key: bytes | None = b"mallory") -> None:
        for _ in itertools.count():
            try:
                self._producer.produce(topic, value, key)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException:
                # Too large for the topic.
                return

    def flush(self) -> None:
        """Wait until Kafka has everything that it takes."""
        self._producer.flush(60)

    def _request(self, **fields: Any) -> JobRequest:
        return JobRequest.model_construct(
            **{**JobRequest(tenant=TENANT, job_type="well-behaved", payload=b"{}").__dict__, **fields}
        )

    def _event(self, **fields: Any) -> JobEvent:
        now = datetime.now(UTC)
        known: dict[str, Any] = {"job_id": new_id(), "tenant": TENANT, "job_type": "well-behaved", "lane": "default"}
        event = JobEvent(**known, submitted_at=now, kind=EventKind.SUBMITTED, occurred_at=now)
        return JobEvent.model_construct(**{**event.__dict__, **fields})
