"""Ids of workers without a configured name."""

import os
import subprocess
import sys
from pathlib import Path

from millstream.consumers.worker.coordination.worker_id import claim_worker_id

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from millstream.consumers.worker.coordination.worker_id import claim_worker_id\n"
    "print(claim_worker_id('host', sys.argv[2], Path(sys.argv[1])), flush=True)\n"
    "time.sleep(600)\n"
)


def worker(folder: Path, prefix: str = "p.") -> tuple[subprocess.Popen[str], str]:
    """A process that holds a name, and the name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), prefix], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_the_next_worker_takes_over_the_name_of_one_that_was_killed_and_of_no_living_one(tmp_path: Path) -> None:
    first, first_name = worker(tmp_path)
    second, second_name = worker(tmp_path)
    third = None
    try:
        assert (first_name, second_name) == ("host-0", "host-1")
        first.kill()
        first.wait()
        third, third_name = worker(tmp_path)
        assert third_name == first_name
        assert second.poll() is None
    finally:
        for process in filter(None, (first, second, third)):
            process.kill()
            process.wait()


def test_a_name_is_held_against_the_same_process_too(tmp_path: Path) -> None:
    assert [claim_worker_id("host", "p.", tmp_path) for _ in range(3)] == ["host-0", "host-1", "host-2"]


def test_workers_of_other_topics_have_numbers_of_their_own(tmp_path: Path) -> None:
    assert claim_worker_id("host", "a.", tmp_path) == claim_worker_id("host", "b/../", tmp_path) == "host-0"
    assert all(path.parent == tmp_path for path in tmp_path.iterdir())


def test_other_users_cannot_read_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "workers"
    claim_worker_id("host", "p.", folder)
    assert folder.stat().st_mode & 0o077 == 0
