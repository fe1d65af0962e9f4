"""The journal: what ran when a process died is known to the next one of its name."""

from pathlib import Path

from millstream.consumers.worker.journal import RunningJournal
from millstream.schemas.models import new_id


def test_what_ran_when_the_process_died_is_suspect(tmp_path: Path) -> None:
    ended, ran = new_id(), new_id()
    dies = RunningJournal(tmp_path / "w", 10)
    dies.begin(ended.encode())
    dies.begin(ran.encode())
    dies.end(ended.encode())
    assert RunningJournal(tmp_path / "w", 10).suspects == {ran}
    assert RunningJournal(tmp_path / "w", 10).suspects == set()


def test_nothing_is_suspect_after_an_orderly_end(tmp_path: Path) -> None:
    ends = RunningJournal(tmp_path / "w", 10)
    ends.begin(new_id().encode())
    ends.close()
    assert RunningJournal(tmp_path / "w", 10).suspects == set()


def test_what_does_not_fit_is_not_noted_and_harms_nothing(tmp_path: Path) -> None:
    ids = [new_id() for _ in range(5)]
    journal = RunningJournal(tmp_path / "w", 3)
    for job_id in ids:
        journal.begin(job_id.encode())
    for job_id in ids:
        journal.end(job_id.encode())
    journal.begin(ids[0].encode())
    assert RunningJournal(tmp_path / "w", 3).suspects == {ids[0]}


def test_a_file_of_something_else_is_no_suspicion(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"\xff" * 100)
    assert RunningJournal(tmp_path / "w", 3).suspects == set()
