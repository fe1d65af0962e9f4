"""Threads for plain functions: one that does not return costs its own thread, and only while it runs."""

import threading
import time
from functools import partial

from millstream.consumers.threads import ThreadPool
from tests.support.waiting import until


def alive() -> int:
    return sum(each.name.startswith("test-pool") for each in threading.enumerate())


def test_replaced_threads_end_when_their_functions_return() -> None:
    pool, released, ran = ThreadPool(2, "test-pool"), threading.Event(), threading.Semaphore(0)

    def stuck() -> None:
        released.wait()

    for _ in range(20):
        work = partial(stuck)
        pool.submit(work)
        pool.replace_stuck(work)
    pool.submit(ran.release)
    assert ran.acquire(timeout=10), "the others still have their threads"
    released.set()
    until(lambda: alive() <= 2)
    pool.submit(ran.release)
    assert ran.acquire(timeout=10)
    pool.stop()
    until(lambda: alive() == 0)


def test_a_function_that_returned_in_time_needs_no_other_thread() -> None:
    pool, ran = ThreadPool(1, "test-pool"), threading.Semaphore(0)

    def returns() -> None:
        ran.release()

    pool.submit(returns)
    assert ran.acquire(timeout=10)
    time.sleep(0.05)
    pool.replace_stuck(returns)
    assert alive() == 1
    pool.stop()
    until(lambda: alive() == 0)
