"""How busy the machine is: the host's own figures, or the cgroup's where those are worse."""

import time
from pathlib import Path

import psutil
import pytest

from millstream.consumers.worker.monitoring.host import SAMPLE_INTERVAL_S, HostGauge

GIB = 2**30


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    """A cgroup of 2 CPUs and a memory limit so small that the host's own use is less."""
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 100\ninactive_file {GIB // 100}\nactive_file 5\n")
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 900000\n")
    return tmp_path


def look_again(gauge: HostGauge) -> None:
    gauge._sampled_at -= 2 * SAMPLE_INTERVAL_S
    gauge.sample()


def test_memory_is_measured_against_the_limit_without_what_the_kernel_takes_back_first(cgroup: Path) -> None:
    gauge = HostGauge(cgroup)
    assert gauge.memory_limit_bytes == GIB
    look_again(gauge)
    assert gauge.memory_used == pytest.approx(0.99, abs=0.001)


def test_a_full_page_cache_is_no_lack_of_memory(cgroup: Path) -> None:
    (cgroup / "memory.stat").write_text(f"inactive_file {GIB}\n")
    gauge = HostGauge(cgroup)
    look_again(gauge)
    assert gauge.memory_used == pytest.approx(psutil.virtual_memory().percent / 100, abs=0.1)
    assert gauge.memory_used < 0.95


def test_cpu_is_measured_against_the_cpus_of_the_cgroup(cgroup: Path) -> None:
    gauge = HostGauge(cgroup)
    assert gauge.cpu_limit == 2
    gauge._sampled_at = time.monotonic() - 1
    # 20 CPU seconds within hardly more than a second.
    (cgroup / "cpu.stat").write_text("usage_usec 21000000\n")
    assert gauge.cpu_used > 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.max": "max\n", "cpu.max": "max 100000\n"},
        {"memory.max": "a lot", "cpu.max": "", "cpu.stat": "nothing\n", "memory.stat": "inactive_file\n"},
    ],
    ids=["no cgroup", "no limits", "garbage"],
)
def test_without_a_readable_cgroup_the_host_is_what_counts(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    gauge = HostGauge(tmp_path)
    look_again(gauge)
    assert (gauge.memory_limit_bytes, gauge.cpu_limit) == (None, None)
    assert 0 < gauge.memory_used <= 1
    assert 0 <= gauge.cpu_used <= 1
    assert gauge.rss_bytes > 0


def test_the_kernel_is_read_at_most_twice_a_second(cgroup: Path) -> None:
    gauge = HostGauge(cgroup)
    look_again(gauge)
    used = gauge.memory_used
    (cgroup / "memory.current").write_text("0\n")
    gauge._sampled_at = time.monotonic()
    assert gauge.memory_used == used
