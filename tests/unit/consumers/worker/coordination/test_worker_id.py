"""Names of workers without a configured one, and the crash journals that outlive them."""

import os
import subprocess
import sys
from pathlib import Path

from millstream.consumers.worker.coordination.worker_id import claim_crash_journal, new_worker_id

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from millstream.consumers.worker.coordination.worker_id import claim_crash_journal\n"
    "print(claim_crash_journal('p.', Path(sys.argv[1])).name, flush=True)\n"
    "time.sleep(600)\n"
)


def worker(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that holds a journal, and the journal's name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_two_workers_never_have_one_name() -> None:
    assert len({new_worker_id("host") for _ in range(1_000)}) == 1_000
    assert new_worker_id("host").startswith("host-")


def test_the_next_worker_takes_over_the_journal_of_one_that_was_killed_and_of_no_living_one(tmp_path: Path) -> None:
    first, first_name = worker(tmp_path)
    second, second_name = worker(tmp_path)
    third = None
    try:
        assert (first_name, second_name) == ("p.0.running", "p.1.running")
        first.kill()
        first.wait()
        third, third_name = worker(tmp_path)
        assert third_name == first_name
        assert second.poll() is None
    finally:
        for process in filter(None, (first, second, third)):
            process.kill()
            process.wait()


def test_prefixes_have_journals_of_their_own_whatever_they_contain(tmp_path: Path) -> None:
    names = {claim_crash_journal(prefix, tmp_path).name for prefix in ("a.", "b/../")}
    assert names == {"a.0.running", "b_.._0.running"}


def test_the_folder_is_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    claim_crash_journal("p.", folder)
    assert folder.stat().st_mode & 0o777 == 0o700
