"""What doctor says of the services that run, from hand-made facts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, KafkaException

from millstream.check_result import CheckResult
from millstream.live_checks import FAR_BEHIND, check_commands, check_lanes, check_sinks, check_workers, guarded
from millstream.live_state import GroupPosition, SeenWorker
from millstream.schemas import Action, Command, Heartbeat, Scope, WorkerState

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
NOW_S = NOW.timestamp()


def seen(
    age_s: float = 0.5,
    *,
    ahead_s: float = 0.0,
    heard: bool = False,
    incarnations: int = 1,
    state: WorkerState = WorkerState.RUNNING,
    version: str = "",
) -> SeenWorker:
    last = Heartbeat(
        worker_id="w",
        occurred_at=NOW - timedelta(seconds=age_s - ahead_s),
        state=state,
        worker_version=version,
        busy=2,
        capacity=10,
    )
    incarnation_ids = {str(number) for number in range(incarnations)}
    return SeenWorker(last, (NOW - timedelta(seconds=age_s)).timestamp(), incarnation_ids, heard)


def statuses(results: Iterator[CheckResult]) -> dict[str, str]:
    return {each.check: each.status for each in results}


def test_living_workers_are_counted_by_release() -> None:
    (result,) = check_workers({"a": seen(version="1.2"), "b": seen(version="1.3"), "c": seen(version="1.3")}, NOW_S)
    assert result.status == "ok"
    assert "3 alive (1 of 1.2, 2 of 1.3), 6 jobs running, 30 could run at once" in result.detail


def test_no_worker_at_all_is_a_warning_with_the_command_that_starts_one() -> None:
    (result,) = check_workers({}, NOW_S)
    assert result.status == "warning" and "millstream worker" in result.fix


def test_a_worker_that_fell_silent_is_named_and_one_that_stopped_is_not() -> None:
    workers = {
        "alive": seen(),
        "heard": seen(30, heard=True),
        "dead": seen(30),
        "gone": seen(30, state=WorkerState.STOPPED),
    }
    found = list(check_workers(workers, NOW_S))
    assert [each.status for each in found] == ["ok", "warning"]
    assert "2 alive" in found[0].detail
    assert "dead (30 s ago" in found[1].detail and "gone" not in found[1].detail and "heard" not in found[1].detail


def test_restarts_are_shown_and_many_are_a_warning() -> None:
    assert statuses(check_workers({"a": seen(incarnations=2)}, NOW_S))["restarts"] == "ok"
    assert statuses(check_workers({"a": seen(incarnations=5)}, NOW_S))["restarts"] == "warning"
    assert "restarts" not in statuses(check_workers({"a": seen()}, NOW_S))


def test_a_worker_whose_clock_differs_is_named_with_the_difference() -> None:
    found = {each.check: each for each in check_workers({"a": seen(), "b": seen(ahead_s=90.0)}, NOW_S)}
    assert found["clocks"].status == "warning"
    assert "b +90.0 s" in found["clocks"].detail and "a " not in found["clocks"].detail.partition("b ")[0][-3:]


def test_a_pause_is_a_warning_with_the_command_that_ends_it() -> None:
    pause = Command(action=Action.PAUSE, scope=Scope.TENANT, target="acme", issued_by="ann", reason="their database")
    (result,) = check_commands([pause])
    assert result.status == "warning" and "their database" in result.detail
    assert result.fix == "millstream commands resume tenant acme"


def test_of_very_many_pauses_the_first_are_shown_and_the_others_counted() -> None:
    results = list(
        check_commands([Command(action=Action.PAUSE, scope=Scope.TENANT, target=f"t{n}") for n in range(30)])
    )
    assert len(results) == 11 and results[0].fix.endswith("resume tenant t0")
    assert (results[-1].detail, results[-1].fix) == ("20 more are paused", "millstream commands list")


def test_quotas_are_listed_and_are_no_warning() -> None:
    quota = Command(action=Action.SET_QUOTA, scope=Scope.JOB_TYPE, target="reports.render", max_concurrency=3)
    (result,) = check_commands([quota])
    assert result.status == "ok" and "job_type reports.render" in result.detail


def test_a_lane_with_records_that_no_worker_reads_fails() -> None:
    read = {"workers.high": GroupPosition(True, 10), "workers.bulk": GroupPosition(False, 0)}
    assert statuses(check_lanes(read)) == {"lanes": "ok"}
    (result,) = check_lanes({**read, "workers.bulk": GroupPosition(False, 7)})
    assert result.status == "failed" and "no worker reads bulk;" in result.detail


def test_a_sink_that_is_absent_or_far_behind_is_a_warning() -> None:
    assert statuses(check_sinks({"sink": GroupPosition(True, 100)})) == {"sink lag": "ok"}
    assert statuses(check_sinks({"sink": GroupPosition(True, FAR_BEHIND + 1)})) == {"sink lag": "warning"}
    (result,) = check_sinks({"sink": GroupPosition(True, 0), "sink-alerts": GroupPosition(False, 0)})
    assert result.status == "warning" and "sink-alerts" in result.detail and result.fix == "millstream sink"


def test_a_check_that_kafka_refuses_is_named_with_the_right_that_is_missing() -> None:
    def refused() -> Iterator[CheckResult]:
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
        yield

    (result,) = guarded("lanes", "allow Describe on groups g", refused)()
    assert (result.check, result.status, result.fix) == ("lanes", "warning", "allow Describe on groups g")
    assert "cannot be checked" in result.detail
