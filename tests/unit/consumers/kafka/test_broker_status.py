"""That no broker answers is said once, then once a minute, however many clients a service has."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from millstream.consumers.kafka.broker_status import AWAY_AFTER_S, SAY_AGAIN_S, BrokerStatus


def test_brokers_that_are_away_are_a_line_a_minute_and_their_return_is_one() -> None:
    brokers = BrokerStatus()
    with capture_logs() as lines:
        for client in ("default", "bulk"):
            brokers.note(client, True, 0.0)
        for second in range(5, 131, 5):
            for client in ("default", "bulk"):
                brokers.note(client, False, float(second))
        brokers.note("bulk", True, 131.0)
        brokers.note("default", True, 132.0)
    away = [each for each in lines if each["event"] == "brokers_unavailable"]
    assert [each["for_s"] for each in away] == [15, 75]
    assert away[1]["for_s"] - away[0]["for_s"] == SAY_AGAIN_S and away[0]["for_s"] > AWAY_AFTER_S
    assert [each["event"] for each in lines][2:] == ["brokers_available"]


def test_a_service_that_never_had_a_broker_says_so_too() -> None:
    brokers = BrokerStatus()
    with capture_logs() as lines:
        for second in range(0, 21, 5):
            brokers.note("coordination", False, float(second))
    assert [(each["event"], each["for_s"]) for each in lines] == [("brokers_unavailable", 15)]


def test_one_client_that_is_connected_is_enough() -> None:
    brokers = BrokerStatus()
    with capture_logs() as lines:
        for second in range(0, 60, 5):
            brokers.note("default", False, float(second))
            brokers.note("bulk", True, float(second))
    assert lines == []


@pytest.mark.parametrize(
    ("statistics", "answers"),
    [
        ({"brokers": {"b:1/1": {"state": "UP"}, "b:2/2": {"state": "DOWN"}}}, True),
        ({"brokers": {"b:1/1": {"state": "CONNECT"}}}, False),
        ({"brokers": {}}, False),
        ({}, False),
    ],
)
def test_a_client_is_connected_if_one_of_its_brokers_is(statistics: dict[str, Any], answers: bool) -> None:
    noted = []
    brokers = BrokerStatus()
    brokers.note = lambda client, connected, now: noted.append((client, connected))  # type: ignore[method-assign]
    brokers.read_statistics("default", json.dumps(statistics))
    assert noted == [("default", answers)]
