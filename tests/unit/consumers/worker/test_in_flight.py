"""The jobs in flight are counted against admission until they have an outcome or their partition is released."""

from tests.unit.consumers.worker.conftest import Parts


def test_a_finished_job_makes_room(parts: Parts) -> None:
    parts.assign(0)
    execution, _ = parts.take_requests(2)
    execution.begin()
    parts.in_flight.finish(execution)
    assert parts.in_flight.admission.records == 1


def test_jobs_of_released_partitions_make_room_and_others_stay(parts: Parts) -> None:
    parts.assign(0)
    kept, dropped = parts.take_requests(2)
    other = parts.member.assignments.copy()
    parts.assign(1)
    dropped.assignment = parts.member.assignments[next(each for each in parts.member.assignments if each not in other)]
    dropped.assignment.release()
    parts.in_flight.drop_released()
    assert parts.in_flight.admission.records == 1
    kept.begin()
    assert parts.in_flight.started([kept.assignment])


def test_only_a_started_job_counts_as_started(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    assert not parts.in_flight.started([execution.assignment])
    execution.begin()
    assert parts.in_flight.started([execution.assignment])
    assert not parts.in_flight.started([])
