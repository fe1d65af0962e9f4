"""Finds out for which attempt a thread, a program or a call in a pool is started.

A handler may start what it likes, in libraries too, and neither Python nor the kernel tells who used the CPU of a
program once it has been waited for. So some functions of the standard library are replaced, in the processes that run
handlers alone. They do what they did before, and note what they start in the `StartedWork` of the attempt whose context
they are called in; outside of an attempt they note nothing. What is started in another way (`os.fork`, `os.system`,
native code) is not seen.
"""

import concurrent.futures
import functools
import multiprocessing.process
import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from millstream.consumers.worker.execution.current_job import Attempt, current_attempt
from millstream.consumers.worker.execution.process_pool_call import MeteredCall
from millstream.consumers.worker.execution.started_work import StartedWork, program_ended

T = TypeVar("T")

# Functions for other interpreters have to be pickled. Python 3.14 has such a pool.
_INTERPRETERS: Any = getattr(concurrent.futures, "InterpreterPoolExecutor", ())


@functools.cache
def meter_what_is_started() -> None:
    """Note from here on what attempts start in this process. Repeated calls do nothing."""
    _replace(threading.Thread, "start", _start_thread)
    _replace(concurrent.futures.ThreadPoolExecutor, "submit", _submit_to_threads)
    _replace(concurrent.futures.ProcessPoolExecutor, "submit", _submit_to_processes)
    _replace(multiprocessing.process.BaseProcess, "start", _start_process)
    _replace(subprocess.Popen, "__init__", _start_program)
    _replace(subprocess.Popen, "poll", _poll_program)
    _replace(os, "waitpid", _waitpid)


def _replace(owner: Any, name: str, instead: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        return instead(original, *arguments, **named)

    setattr(owner, name, call)


def _work_of(attempt: Attempt) -> StartedWork:
    # Threads of one attempt may come here at once.
    return attempt.__dict__.setdefault("started", StartedWork()) if attempt.started is None else attempt.started


def _call_for(attempt: Attempt, function: Callable[..., T], /, *arguments: Any, **named: Any) -> T:
    """Call a function in this thread, which is not one of the worker's, for an attempt."""
    token = current_attempt.set(attempt)
    try:
        return _work_of(attempt).call(function, *arguments, **named)
    finally:
        current_attempt.reset(token)


def _start_thread(start: Callable[..., None], thread: threading.Thread) -> None:
    attempt = current_attempt.get(None)
    if attempt is None:
        return start(thread)
    run = thread.run

    def run_for_attempt() -> None:
        thread.__dict__.pop("run", None)
        _call_for(attempt, run)

    thread.__dict__["run"] = run_for_attempt
    try:
        start(thread)
    except BaseException:
        thread.__dict__.pop("run", None)
        raise


def _submit_to_threads(
    submit: Callable[..., Any], pool: Any, function: Callable[..., Any], /, *arguments: Any, **named: Any
) -> Any:
    attempt = current_attempt.get(None)
    if attempt is None or isinstance(pool, _INTERPRETERS):
        return submit(pool, function, *arguments, **named)
    return _for_nobody(submit, pool, _call_for, attempt, function, *arguments, **named)


def _submit_to_processes(
    submit: Callable[..., Any], pool: Any, function: Callable[..., Any], /, *arguments: Any, **named: Any
) -> Any:
    attempt = current_attempt.get(None)
    if attempt is None:
        return submit(pool, function, *arguments, **named)
    return _for_nobody(submit, pool, MeteredCall(_work_of(attempt), function), *arguments, **named)


def _for_nobody(submit: Callable[..., T], /, *arguments: Any, **named: Any) -> T:
    """Threads and processes that a pool starts for this call work for others later."""
    token = current_attempt.set(None)
    try:
        return submit(*arguments, **named)
    finally:
        current_attempt.reset(token)


def _start_process(start: Callable[..., None], process: multiprocessing.process.BaseProcess) -> None:
    start(process)
    _note_program(process.pid)


def _start_program(
    init: Callable[..., None], program: "subprocess.Popen[Any]", /, *arguments: Any, **named: Any
) -> None:
    init(program, *arguments, **named)
    _note_program(program.pid)


def _note_program(pid: int | None) -> None:
    attempt = current_attempt.get(None)
    if attempt is not None and pid is not None:
        _work_of(attempt).add_program(pid)


def _poll_program(poll: Callable[..., int | None], program: "subprocess.Popen[Any]") -> int | None:
    # It has bound the `os.waitpid` that was there when it was imported; `wait` has not.
    try:
        return program.wait(timeout=0)
    except subprocess.TimeoutExpired:
        return None


def _waitpid(waitpid: Callable[..., Any], pid: int, options: int, /) -> tuple[int, int]:
    # The same with what the child used, itself and the children that it has waited for.
    ended, status, used = os.wait4(pid, options)
    if ended and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
        program_ended(ended, used)
    return ended, status
