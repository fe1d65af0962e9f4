"""CPU and memory use of the machine that a worker runs on: of the host, or of its cgroup when that is smaller."""

import time
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
SAMPLE_INTERVAL_S = 0.5


class HostGauge:
    """CPU and memory in use. Reads the kernel's counters at most twice a second.

    May be used from several threads: a race costs no more than one additional reading.
    """

    def __init__(self, cgroup: Path = CGROUP) -> None:
        self._cgroup = cgroup
        self._process = psutil.Process()
        self.memory_limit_bytes = _number(cgroup / "memory.max")
        self.cpu_limit = _cpu_limit(cgroup / "cpu.max")
        self.rss_bytes = 0
        self.cpu_percent = 0.0
        self._cpu_used = 0.0
        self._memory_used = 0.0
        self._sampled_at = time.monotonic()
        self._cgroup_cpu_s = self._read_cgroup_cpu()
        psutil.cpu_percent()
        self._process.cpu_percent()

    @property
    def cpu_used(self) -> float:
        """Share of the CPU in use since the sample before, 0 to 1."""
        self.sample()
        return self._cpu_used

    @property
    def memory_used(self) -> float:
        """Share of the memory in use, 0 to 1."""
        self.sample()
        return self._memory_used

    def sample(self) -> None:
        """Read the kernel's counters, unless that was just done."""
        now = time.monotonic()
        elapsed = now - self._sampled_at
        if elapsed < SAMPLE_INTERVAL_S:
            return
        self._sampled_at = now
        self.rss_bytes = self._process.memory_info().rss
        self.cpu_percent = self._process.cpu_percent()
        self._cpu_used = psutil.cpu_percent() / 100
        used = self._read_cgroup_cpu()
        if self.cpu_limit and used is not None and self._cgroup_cpu_s is not None:
            self._cpu_used = max(self._cpu_used, (used - self._cgroup_cpu_s) / elapsed / self.cpu_limit)
        self._cgroup_cpu_s = used
        self._memory_used = psutil.virtual_memory().percent / 100
        in_cgroup = self._read_cgroup_memory()
        if self.memory_limit_bytes and in_cgroup is not None:
            self._memory_used = max(self._memory_used, in_cgroup / self.memory_limit_bytes)

    def _read_cgroup_memory(self) -> int | None:
        """Bytes in use, without the inactive page cache, which the kernel reclaims first."""
        used = _number(self._cgroup / "memory.current")
        return None if used is None else max(0, used - (self._stat("memory.stat", "inactive_file") or 0))

    def _read_cgroup_cpu(self) -> float | None:
        used_us = self._stat("cpu.stat", "usage_usec")
        return None if used_us is None else used_us / 1e6

    def _stat(self, file: str, name: str) -> int | None:
        try:
            lines = dict(line.split() for line in (self._cgroup / file).read_text().splitlines())
            return int(lines[name])
        except (OSError, ValueError, KeyError):
            return None


def _number(path: Path) -> int | None:
    """The number in a cgroup file; None for `max` or without such a file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _cpu_limit(path: Path) -> float | None:
    """CPUs that a cgroup may use, from a file with "quota period"; None without a limit."""
    try:
        quota, period = path.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None
