"""Ordering keys: jobs of one key one after the other, in their order, whatever else happens."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys


@dataclass(eq=False)
class Job:
    tenant: str = "a"
    ordering_key: str = "k"
    live: bool = True
    number: int = field(default=0)


def test_what_was_dropped_does_not_wait_behind_its_key() -> None:
    keys = OrderingKeys[Job]()
    first, second, third = (Job(number=number) for number in range(3))
    for job in (first, second, third):
        keys.claim(job)
    second.live = False
    keys.forget_dead()
    assert len(keys) == 1
    assert keys.release(first) is third


def test_jobs_of_one_key_follow_each_other_and_a_dropped_one_is_skipped() -> None:
    keys = OrderingKeys[Job]()
    first, second, third = (Job(number=number) for number in range(3))
    assert [keys.claim(job) for job in (first, second, third)] == [True, False, False]
    assert keys.claim(Job(tenant="b"))
    second.live = False
    assert keys.release(first) is third
    assert keys.release(third) is None
    assert keys.claim(first)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=60))
def test_no_two_jobs_of_a_key_run_at_once_and_each_runs_in_its_order(steps: list[tuple[str, bool]]) -> None:
    keys = OrderingKeys[Job]()
    running: dict[str, Job] = {}
    started: dict[str, list[int]] = {}

    def start(job: Job | None) -> None:
        if job is not None:
            assert job.ordering_key not in running
            running[job.ordering_key] = job
            started.setdefault(job.ordering_key, []).append(job.number)

    for number, (key, ends) in enumerate(steps):
        job = Job(ordering_key=key, number=number)
        if keys.claim(job):
            start(job)
        if ends and (ended := running.pop(key, None)) is not None:
            start(keys.release(ended))
    for key in list(running):
        while (ended := running.pop(key, None)) is not None:
            start(keys.release(ended))
    assert sum(map(len, started.values())) == len(steps)
    assert all(numbers == sorted(numbers) for numbers in started.values())
    assert len(keys) == 0
