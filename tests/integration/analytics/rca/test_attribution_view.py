"""The view `rca_attribution` puts what was planted first, and blames nothing that is as it always was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.support.job_history import Attempt, History

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEFORE, AFTER = NOON - timedelta(hours=2), NOON + timedelta(minutes=30)
BEYOND_CHANCE = 8.0
"""In nats; less than the ln N + 4 of the some 150 suspects that there are here."""
KINDS = [
    Attempt(NOON, tenant=tenant, host=host, worker_id=f"worker-{host[-1]}", job_type=job_type, labels={"team": team})
    for tenant, team in (("acme", "red"), ("globex", "blue"), ("initech", "red"), ("hooli", "blue"))
    for host in ("host-1", "host-2", "host-3")
    for job_type in ("reports.render", "emails.send")
]


def history(planted: dict[str, str], during: dict[str, float | str], failing: float = 0.02) -> History:
    """Every kind of attempt at a steady rate; from noon those that are as `planted` are as `during`, or fail more."""
    past = History()
    for like in KINDS:
        hit = all(getattr(like, name) == value for name, value in planted.items())
        past.steady(BEFORE, NOON, 1, like, 0.02)
        past.steady(NOON, AFTER, 2, replace(like, **during) if hit else like, failing if hit else 0.02)  # type: ignore[arg-type]
    return past


def causes(client: Client, metric: str = "failure_rate", slow_ms: float = 0) -> list[dict[str, object]]:
    result = client.query(
        "SELECT * FROM rca_attribution(from={from:DateTime64(6)}, to={to:DateTime64(6)}, "
        "baseline_from={before:DateTime64(6)}, baseline_to={from:DateTime64(6)}, metric={metric:String}, "
        "slow_ms={slow_ms:Float64})",
        parameters={"from": NOON, "to": AFTER, "before": BEFORE, "metric": metric, "slow_ms": slow_ms},
    )
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


@pytest.mark.parametrize(
    ("planted", "cause"),
    [
        ({"tenant": "initech"}, "tenant=initech"),
        ({"host": "host-2", "job_type": "emails.send"}, "job_type=emails.send, host=host-2"),
    ],
)
def test_a_planted_value_or_pair_comes_first(clickhouse: Client, planted: dict[str, str], cause: str) -> None:
    history(planted, {}, failing=0.4).write(clickhouse)
    found = causes(clickhouse)
    first = found[0]
    assert first["cause"] == cause
    size = 24 // (4 if "tenant" in planted else 6)
    assert first["attempts_before"] == pytest.approx(size * 120, abs=5)
    assert first["attempts_now"] == pytest.approx(size * 60, abs=5)
    assert first["inside_now_rate"] == pytest.approx(0.4, abs=0.1)
    for rate in ("inside_before_rate", "outside_before_rate", "outside_now_rate"):
        assert float(str(first[rate])) < 0.05
    assert 0.8 < float(str(first["excess_share"])) <= 1
    scores = [float(str(each["score"])) for each in found]
    assert scores == sorted(scores, reverse=True)


def test_a_value_whose_attempts_became_slow_comes_first(clickhouse: Client) -> None:
    history({"host": "host-3"}, {"run_ms": 900.0}).write(clickhouse)
    first = causes(clickhouse, "slow", 400.0)[0]
    assert first["cause"] == "host=host-3"
    assert (first["bad_before"], first["excess_share"]) == (0, 1)
    assert first["inside_now_rate"] == pytest.approx(1, abs=0.05)


def test_a_type_that_always_fails_is_not_attributed_to_a_new_release(clickhouse: Client) -> None:
    past = History()
    for like in KINDS:
        failing = 0.4 if like.job_type == "emails.send" else 0.02
        past.steady(BEFORE, NOON, 1, like, failing)
        past.steady(NOON, AFTER, 2, replace(like, worker_version="1.4.2"), failing)
    past.write(clickhouse)
    assert [each["cause"] for each in causes(clickhouse) if float(str(each["score"])) > BEYOND_CHANCE] == []


def test_without_attempts_there_is_no_cause(clickhouse: Client) -> None:
    assert causes(clickhouse) == []


def test_a_metric_that_it_does_not_know_is_refused(clickhouse: Client) -> None:
    history({}, {}).write(clickhouse)
    with pytest.raises(DatabaseError, match="metric is failure_rate or slow"):
        causes(clickhouse, "speed")
