"""The journal: what ran when a process died is known to the next one of its name."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.worker.execution.crash_journal import MOST_SUSPECTS, SUSPECT_AFTER, CrashJournal
from millstream.schemas.ids import new_id

EXECUTION = new_id()


def test_what_ran_at_two_deaths_in_a_row_is_suspect(tmp_path: Path) -> None:
    ended, once, twice = (new_id() for _ in range(3))
    dies = CrashJournal(tmp_path / "w", 10)
    for job_id in (ended, once, twice):
        dies.begin(job_id.encode(), job_id)
    dies.end(ended)
    dies_too = CrashJournal(tmp_path / "w", 10)
    assert dies_too.poison_suspects == set()
    dies_too.begin(twice.encode(), twice)
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == {twice}


def test_a_death_before_a_job_starts_changes_nothing_for_it(tmp_path: Path) -> None:
    """Two jobs that end their process take turns: each is a suspect as soon as it has ended two processes."""
    first, second = new_id(), new_id()
    for killer, suspects in ((first, set()), (second, set()), (first, set()), (second, {first})):
        dies = CrashJournal(tmp_path / "w", 10)
        assert dies.poison_suspects == suspects
        dies.begin(killer.encode(), killer)
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == {first, second}
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == {first, second}, "neither has run since"


def test_a_suspect_that_ends_is_none_any_more(tmp_path: Path) -> None:
    job_id = new_id()
    for _ in range(2):
        CrashJournal(tmp_path / "w", 10).begin(job_id.encode(), EXECUTION)
    contains = CrashJournal(tmp_path / "w", 10)
    assert contains.poison_suspects == {job_id}
    contains.begin(job_id.encode(), EXECUTION)
    contains.end(EXECUTION)
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == set()


def test_two_restarts_of_a_host_make_few_of_many_jobs_suspects(tmp_path: Path) -> None:
    ids = [new_id() for _ in range(400)]
    for _ in range(2):
        dies = CrashJournal(tmp_path / "w", 500)
        for job_id in ids:
            dies.begin(job_id.encode(), job_id)
    assert CrashJournal(tmp_path / "w", 500).poison_suspects == set(ids[-MOST_SUSPECTS:]), "the newest"


@given(poison=st.integers(0, 399))
def test_of_many_jobs_the_one_that_ends_its_process_is_a_suspect_within_a_few_more_deaths(poison: int) -> None:
    ids = [new_id() for _ in range(400)]
    with TemporaryDirectory() as folder:
        deaths = 0
        while ids[poison] not in (journal := CrashJournal(Path(folder) / "w", 500)).poison_suspects:
            for job_id in ids:
                journal.begin(job_id.encode(), job_id, apart=job_id in journal.poison_suspects)
            deaths += 1
    assert SUSPECT_AFTER <= deaths <= SUSPECT_AFTER + 6


def test_a_death_counts_against_no_job_that_ran_in_a_process_of_its_own(tmp_path: Path) -> None:
    suspect, other = new_id(), new_id()
    for _ in range(2):
        CrashJournal(tmp_path / "w", 10).begin(suspect.encode(), suspect)
    dies = CrashJournal(tmp_path / "w", 10)
    dies.begin(suspect.encode(), suspect, apart=True)
    dies.begin(other.encode(), other, apart=True)
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == {suspect}
    assert (tmp_path / "w").read_bytes().count(bytes((2,))) == 1


def test_jobs_that_have_not_run_yet_leave_room_for_those_that_run(tmp_path: Path) -> None:
    dies = CrashJournal(tmp_path / "w", 2)
    for job_id in (waiting := [new_id(), new_id()]):
        dies.begin(job_id.encode(), job_id)
    runs = CrashJournal(tmp_path / "w", 2)
    for job_id in (running := [new_id(), new_id()]):
        runs.begin(job_id.encode(), job_id)
    text = (tmp_path / "w").read_bytes().decode("latin-1")
    assert all(job_id in text for job_id in running) and not any(job_id in text for job_id in waiting)


def test_what_ended_between_two_deaths_is_not_suspect(tmp_path: Path) -> None:
    job_id = new_id().encode()
    for _ in range(3):
        dies = CrashJournal(tmp_path / "w", 10)
        dies.begin(job_id, EXECUTION)
        assert CrashJournal(tmp_path / "w", 10).poison_suspects == set()
        again = CrashJournal(tmp_path / "w", 10)
        again.begin(job_id, EXECUTION)
        again.end(EXECUTION)


def test_nothing_is_suspect_after_an_orderly_end(tmp_path: Path) -> None:
    job_id = new_id().encode()
    CrashJournal(tmp_path / "w", 10).begin(job_id, EXECUTION)
    ends = CrashJournal(tmp_path / "w", 10)
    ends.begin(job_id, EXECUTION)
    ends.close()
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == set()


def test_what_does_not_fit_is_not_noted_and_harms_nothing(tmp_path: Path) -> None:
    ids = [new_id().encode() for _ in range(5)]
    for _ in range(2):
        journal = CrashJournal(tmp_path / "w", 3)
        for job_id in ids:
            journal.begin(job_id, job_id.decode())
        for job_id in ids:
            journal.end(job_id.decode())
        journal.begin(ids[0], EXECUTION)
    assert CrashJournal(tmp_path / "w", 3).poison_suspects == {ids[0].decode()}


def test_a_file_of_something_else_is_no_suspicion(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"\xff" * 100)
    assert CrashJournal(tmp_path / "w", 3).poison_suspects == set()


def test_a_job_that_runs_twice_at_once_holds_a_place_for_each_run_and_frees_both(tmp_path: Path) -> None:
    job_id, last = new_id().encode(), new_id()
    for _ in range(2):
        dies = CrashJournal(tmp_path / "w", 2)
        for _ in range(5):
            dies.begin(job_id, "first")
            dies.begin(job_id, "second")
            dies.end("first")
            dies.end("second")
        dies.begin(last.encode(), last)
    assert CrashJournal(tmp_path / "w", 2).poison_suspects == {last}


def test_a_process_that_ends_because_of_one_job_leaves_no_suspicion_on_the_others(tmp_path: Path) -> None:
    blamed, innocent = new_id(), new_id()
    for _ in range(2):
        ends = CrashJournal(tmp_path / "w", 3)
        ends.begin(blamed.encode(), "blamed")
        ends.begin(innocent.encode(), "innocent")
        ends.freeze("blamed")
        ends.end("blamed")
        ends.begin(new_id().encode(), "late")
        ends.close()
    assert CrashJournal(tmp_path / "w", 3).poison_suspects == {blamed}


def test_when_no_job_is_blamed_all_that_ran_are_suspects(tmp_path: Path) -> None:
    ids = {new_id(), new_id()}
    for _ in range(2):
        ends = CrashJournal(tmp_path / "w", 3)
        for job_id in ids:
            ends.begin(job_id.encode(), job_id)
        ends.freeze(None)
        ends.close()
    assert CrashJournal(tmp_path / "w", 3).poison_suspects == ids


def test_a_job_is_blamed_without_a_death_and_the_next_process_knows_it(tmp_path: Path) -> None:
    job_id = new_id()
    goes_on = CrashJournal(tmp_path / "w", 10)
    assert not goes_on.blame(job_id.encode())
    assert goes_on.poison_suspects == set()
    goes_on.begin(job_id.encode(), EXECUTION)
    assert CrashJournal(tmp_path / "w", 10).poison_suspects == {job_id}, (
        "it ran when this one died, and was blamed once"
    )


def test_a_job_that_is_blamed_twice_is_suspect_in_the_same_process(tmp_path: Path) -> None:
    job_id = new_id()
    goes_on = CrashJournal(tmp_path / "w", 10)
    assert [goes_on.blame(job_id.encode()) for _ in range(2)] == [False, True]
    assert goes_on.poison_suspects == {job_id}
