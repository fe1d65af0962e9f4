"""The journal: what ran when a process died is known to the next one of its name."""

from pathlib import Path

from millstream.consumers.worker.journal import RunningJournal
from millstream.schemas.models import new_id


def test_what_ran_at_two_deaths_in_a_row_is_suspect(tmp_path: Path) -> None:
    ended, once, twice = (new_id() for _ in range(3))
    dies = RunningJournal(tmp_path / "w", 10)
    for job_id in (ended, once, twice):
        dies.begin(job_id.encode())
    dies.end(ended.encode())
    dies_too = RunningJournal(tmp_path / "w", 10)
    assert dies_too.suspects == set()
    dies_too.begin(twice.encode())
    assert RunningJournal(tmp_path / "w", 10).suspects == {twice}
    assert RunningJournal(tmp_path / "w", 10).suspects == set()


def test_what_ended_between_two_deaths_is_not_suspect(tmp_path: Path) -> None:
    job_id = new_id().encode()
    for _ in range(3):
        dies = RunningJournal(tmp_path / "w", 10)
        dies.begin(job_id)
        assert RunningJournal(tmp_path / "w", 10).suspects == set()
        again = RunningJournal(tmp_path / "w", 10)
        again.begin(job_id)
        again.end(job_id)


def test_nothing_is_suspect_after_an_orderly_end(tmp_path: Path) -> None:
    job_id = new_id().encode()
    RunningJournal(tmp_path / "w", 10).begin(job_id)
    ends = RunningJournal(tmp_path / "w", 10)
    ends.begin(job_id)
    ends.close()
    assert RunningJournal(tmp_path / "w", 10).suspects == set()


def test_what_does_not_fit_is_not_noted_and_harms_nothing(tmp_path: Path) -> None:
    ids = [new_id().encode() for _ in range(5)]
    for _ in range(2):
        journal = RunningJournal(tmp_path / "w", 3)
        for job_id in ids:
            journal.begin(job_id)
        for job_id in ids:
            journal.end(job_id)
        journal.begin(ids[0])
    assert RunningJournal(tmp_path / "w", 3).suspects == {ids[0].decode()}


def test_a_file_of_something_else_is_no_suspicion(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"\xff" * 100)
    assert RunningJournal(tmp_path / "w", 3).suspects == set()
