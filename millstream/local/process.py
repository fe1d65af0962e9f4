"""A child process that ends with its parent, whatever happens to the parent."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TAIL_LINES = 40

_DIE_WITH_PARENT = (
    (
        sys.executable,
        "-IS",
        "-c",
        # PR_SET_PDEATHSIG is 1, SIGKILL 9; it outlives exec. Done here and not in preexec_fn, which may deadlock when
        # the parent has threads. The parent may have died before prctl took effect: then this is an orphan already.
        "import ctypes, os, sys\n"
        "ctypes.CDLL(None).prctl(1, 9)\n"
        "if os.getppid() == int(sys.argv[1]): os.execvp(sys.argv[2], sys.argv[2:])",
    )
    if sys.platform == "linux"
    else (sys.executable, "-IS", "-c", "import os, sys; os.execvp(sys.argv[2], sys.argv[2:])")
)


class DidNotStart(RuntimeError):
    """A child process ended or timed out before it was ready; the text holds the end of its output."""


class ChildProcess:
    """One program, started in a session of its own so that a ctrl-C in the terminal reaches only the parent.

    Its output (stdout and stderr together) goes line by line to `on_line`, or to the file `log`; the last lines are
    kept in `tail` either way. On Linux the kernel kills the child when its parent dies, even by kill -9.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        log: Path | None = None,
    ) -> None:
        self._argv = list(argv)
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._on_line = on_line
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def start(self) -> None:
        """Start it. Raises OSError when the program cannot be run, RuntimeError when it runs already."""
        if self.is_alive():
            raise RuntimeError(f"{self._argv[0]} runs already as process {self.pid}")
        if shutil.which(self._argv[0]) is None:
            raise FileNotFoundError(f"there is no program {self._argv[0]!r} on the PATH")
        self._tail.clear()
        started = threading.Event()
        failure: list[OSError] = []

        def own() -> None:
            # The kernel's "parent death" is the death of the thread that started the child, so that thread stays.
            try:
                self._process = subprocess.Popen(
                    [*_DIE_WITH_PARENT, str(os.getpid()), *self._argv],
                    env=self._env,
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                failure.append(error)
                return
            finally:
                started.set()
            self._read(self._process)
            self._process.wait()

        self._reader = threading.Thread(target=own, name=f"child-{Path(self._argv[0]).name}", daemon=True)
        self._reader.start()
        started.wait()
        if failure:
            raise failure[0]

    def stop(self, grace_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL when it has not ended within `grace_s` seconds. Returns its exit code."""
        process = self._started()
        if process.poll() is None:
            # A stopped (SIGSTOP) process cannot handle SIGTERM.
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        return self._end()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._signal(signal.SIGKILL)
        self._end()

    def suspend(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._signal(signal.SIGTERM)

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and the last line of output; returns the exit code. Raises subprocess.TimeoutExpired."""
        code = self._started().wait(timeout_s)
        if self._reader:
            self._reader.join(5)
        return code

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._started().poll()

    @property
    def tail(self) -> str:
        """The last lines of its output."""
        return "\n".join(self._tail)

    def _end(self) -> int:
        self._started().wait()
        # Its own children are in its session and would keep its output open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()

    def _signal(self, number: signal.Signals) -> None:
        process = self._started()
        if process.poll() is None:
            process.send_signal(number)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self._argv[0]} was not started")
        return self._process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        log = self._log.open("a", encoding="utf-8") if self._log else None
        with process.stdout as output:
            for raw in output:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._tail.append(line)
                if log:
                    log.write(line + "\n")
                    log.flush()
                if self._on_line:
                    self._on_line(line)
        if log:
            log.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
