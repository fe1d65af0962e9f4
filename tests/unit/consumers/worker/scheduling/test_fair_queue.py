"""The fair queue: whose turn it is."""

import math
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.consumers.worker.scheduling.fair_queue import STARVING_AFTER, FairQueue
from millstream.consumers.worker.scheduling.quotas import Quota, Quotas, QuotaScope


@dataclass(eq=False)
class Job:
    tenant: str = "a"
    job_type: str = "t"
    lane: str = "default"
    ordering_key: str = ""
    number: int = 0
    live: bool = True


class Worker:
    """A queue with its quotas, as the executor uses them."""

    def __init__(self, quotas: Quotas | None = None, lanes: tuple[str, ...] = ("high", "default", "bulk")) -> None:
        self.quotas = quotas or Quotas()
        self.queue = FairQueue[Job](lanes, self.quotas)

    def begin(self, now: float = 0) -> Job | None:
        job = self.queue.pop(now)
        if job is not None:
            self.quotas.enter(job.tenant, job.job_type, job.lane)
        return job

    def end(self, job: Job) -> None:
        self.quotas.leave(job.tenant, job.job_type, job.lane)
        self.queue.wake(job.tenant, job.job_type)

    def drain(self) -> list[Job]:
        jobs = []
        while (job := self.begin()) is not None:
            jobs.append(job)
            self.end(job)
        return jobs


def test_a_tenant_with_one_job_does_not_wait_for_another_with_thousands() -> None:
    worker = Worker()
    for number in range(5000):
        worker.queue.put(Job("flood", number=number))
    worker.queue.put(Job("small"))
    assert "small" in [job.tenant for job in worker.drain()[:2]]


def test_tenants_get_places_in_proportion_to_their_weights() -> None:
    worker = Worker(Quotas({("tenant", "a"): Quota(weight=3), ("tenant", "b"): Quota(weight=0.5)}))
    for tenant in "abc":
        for _ in range(1000):
            worker.queue.put(Job(tenant))
    counts = Counter(job.tenant for job in worker.drain()[:450])
    assert (counts["a"], counts["b"], counts["c"]) == (300, 50, 100)


def test_an_urgent_lane_goes_first_and_the_others_do_not_starve() -> None:
    worker = Worker()
    for lane in ("bulk", "default", "high"):
        for _ in range(200):
            worker.queue.put(Job(lane=lane))
    first = [job.lane for job in worker.drain()[: 3 * STARVING_AFTER]]
    assert first[0] == "high"
    assert Counter(first)["high"] > 0.8 * len(first)
    assert {"default", "bulk"} <= set(first)


def test_a_type_at_its_limit_does_not_hold_up_the_tenants_other_types() -> None:
    worker = Worker(Quotas({("job_type", "slow"): Quota(max_concurrency=1)}))
    for job_type in ("slow", "slow", "quick"):
        worker.queue.put(Job(job_type=job_type))
    begun = [worker.begin(), worker.begin()]
    assert {job.job_type for job in begun if job} == {"slow", "quick"}
    assert worker.begin() is None
    worker.end(next(job for job in begun if job and job.job_type == "slow"))
    assert worker.begin() is not None


def test_a_free_place_of_a_type_is_used_though_the_first_in_line_may_not() -> None:
    quotas = Quotas({("job_type", "t"): Quota(max_concurrency=1)})
    worker = Worker(quotas)
    for tenant in "abc":
        worker.queue.put(Job(tenant))
    running = worker.begin()
    assert running is not None and worker.begin() is None
    for tenant in "bc":
        quotas.pause("tenant", tenant, tenant == "b")
    worker.end(running)
    following = worker.begin()
    assert following is not None and following.tenant == "c"


def test_a_rate_limit_gives_the_time_of_the_next_start() -> None:
    worker = Worker(Quotas({("tenant", "a"): Quota(max_per_second=2)}))
    for _ in range(5):
        worker.queue.put(Job())
    begun = []
    while (job := worker.begin(10.0)) is not None:
        begun.append(job)
        worker.end(job)
    assert len(begun) == 2
    assert worker.queue.ready_at() == 10.5
    assert worker.begin(10.4) is None
    assert worker.begin(10.5) is not None


def test_a_rate_limit_of_a_lane_gives_the_time_of_the_next_start() -> None:
    worker = Worker(Quotas({("lane", "default"): Quota(max_per_second=1)}))
    for _ in range(3):
        worker.queue.put(Job())
    first = worker.begin(10.0)
    assert first is not None
    worker.end(first)
    assert worker.begin(10.1) is None
    assert worker.queue.ready_at() == pytest.approx(11.0)
    assert worker.begin(11.0) is not None


def test_a_paused_lane_waits_for_no_moment() -> None:
    worker = Worker()
    worker.quotas.pause("lane", "default")
    worker.queue.put(Job())
    assert worker.begin(1.0) is None
    assert worker.queue.ready_at() == math.inf


def test_an_order_to_a_lane_is_one_to_its_overflow_too() -> None:
    worker = Worker(lanes=("bulk", "bulk.overflow", "high"))
    worker.quotas.pause("lane", "bulk")
    for lane in ("bulk", "bulk.overflow", "high"):
        worker.queue.put(Job(lane=lane))
    assert [job.lane for job in worker.drain()] == ["high"]
    worker.quotas.pause("lane", "bulk", False)
    worker.quotas.set("lane", "bulk", Quota(max_concurrency=1))
    worker.queue.wake_all()
    running = worker.begin()
    assert running is not None and worker.begin() is None
    worker.end(running)
    assert worker.begin() is not None


def test_paused_jobs_start_when_they_are_resumed() -> None:
    worker = Worker()
    worker.quotas.pause("tenant", "a")
    worker.quotas.pause("lane", "high")
    worker.queue.put(Job())
    worker.queue.put(Job("b", lane="high"))
    assert worker.begin() is None
    worker.quotas.pause("tenant", "a", False)
    worker.quotas.pause("lane", "high", False)
    worker.queue.wake_all()
    assert len(worker.drain()) == 2


def test_a_tenant_that_waits_for_one_type_and_runs_another_leaves_nothing_behind() -> None:
    quotas = Quotas({("job_type", "limited"): Quota(max_per_second=0.001)})
    quotas.pause("job_type", "paused")
    worker = Worker(quotas)
    for job_type in ("paused", "limited", "limited"):
        worker.queue.put(Job(job_type=job_type))
    assert worker.begin() is not None
    lane = worker.queue._by_name["default"]
    for number in range(2000):
        worker.queue.put(Job(job_type="free"))
        job = worker.begin(number / 1000)
        assert job is not None and job.job_type == "free"
        assert worker.begin(number / 1000) is None
        worker.end(job)
    assert len(lane.wake_heap) <= 2
    assert sum(map(len, lane._waiting_for_type.values())) <= 2
    assert worker.begin(2.0) is None
    assert worker.queue.ready_at() == pytest.approx(1000, abs=0.01)


def test_what_is_given_up_leaves_the_queue_though_its_tenant_is_paused() -> None:
    worker = Worker()
    worker.quotas.pause("tenant", "a")
    given_up = [Job(job_type=name) for name in "xxy"] + [Job("b")]
    kept = [Job(job_type="x"), Job("b", job_type="z"), Job("c")]
    for job in given_up + kept:
        worker.queue.put(job)
    first = worker.begin()
    assert first is not None and worker.queue.pop(0) is not None
    for job in (*given_up, *kept):
        worker.queue.put(job)
    for job in given_up:
        job.live = False
    before = len(worker.queue)
    gone = worker.queue.forget_dead()
    assert not any(job.live for job in gone)
    assert len(worker.queue) == before - len(gone) == sum(worker.queue.by_tenant().values())
    worker.quotas.pause("tenant", "a", False)
    worker.queue.wake_all()
    rest = worker.drain()
    assert all(job.live for job in rest) and len(rest) == before - len(gone)
    assert not len(worker.queue)


tenants = st.sampled_from("abcd")
types = st.sampled_from(["x", "y", "z"])
lanes = st.sampled_from(["high", "default", "bulk"])
limits = st.builds(
    Quota,
    max_concurrency=st.none() | st.integers(1, 3),
    weight=st.sampled_from([0.1, 1.0, 7.0]),
    max_per_second=st.none(),
)


@settings(max_examples=200, deadline=None)
@given(
    jobs=st.lists(st.builds(Job, tenants, types, lanes), max_size=60),
    per_tenant=st.dictionaries(tenants, limits),
    per_type=st.dictionaries(types, limits),
    choices=st.lists(st.integers(0, 10), max_size=200),
)
def test_every_job_begins_once_and_no_quota_is_ever_exceeded(
    jobs: list[Job], per_tenant: dict[str, Quota], per_type: dict[str, Quota], choices: list[int]
) -> None:
    quotas: dict[tuple[QuotaScope, str], Quota] = {("tenant", name): quota for name, quota in per_tenant.items()}
    quotas |= {("job_type", name): quota for name, quota in per_type.items()}
    worker = Worker(Quotas(quotas))
    waiting = list(jobs)
    running: list[Job] = []
    ended: list[Job] = []
    gone: list[Job] = []
    steps = iter(choices)
    while waiting or running or len(worker.queue):
        choice = next(steps, 0)
        if waiting and choice % 3 == 0:
            worker.queue.put(waiting.pop())
        elif choice == 8:
            for given_up in jobs[::3]:
                given_up.live = False
            gone += worker.queue.forget_dead()
        elif running and choice % 3 == 1:
            ended.append(running.pop(choice % len(running)))
            worker.end(ended[-1])
        elif (job := worker.begin()) is not None:
            running.append(job)
        elif running:
            ended.append(running.pop())
            worker.end(ended[-1])
        else:
            assert not len(worker.queue), "jobs wait, places are free, and nothing begins"
        for scope, of in (("tenant", per_tenant), ("job_type", per_type)):
            counts = Counter(getattr(job, scope) for job in running)
            for name, quota in of.items():
                assert quota.max_concurrency is None or counts[name] <= quota.max_concurrency
    assert Counter(map(id, ended + gone)) == Counter(map(id, jobs))
