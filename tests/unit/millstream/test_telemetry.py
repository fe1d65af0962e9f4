"""What Kafka's client logs: few lines, as events of ours."""

import logging

from structlog.testing import capture_logs

from millstream.telemetry import ClientLog


def record(message: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("librdkafka", level, "", 0, message, (), None)


def test_a_broker_that_is_away_is_one_line_a_second_with_the_number_of_those_left_out() -> None:
    now = [0.0]
    log = ClientLog(lambda: now[0])
    with capture_logs() as lines:
        for tick in range(30):
            now[0] = tick / 10
            for client in range(20):
                log.emit(record(f"FAIL [producer-{client}] Connection refused"))
    assert [each["left_out"] for each in lines] == [0, 199, 199]
    assert {each["event"] for each in lines} == {"kafka_client"}


def test_each_kind_of_line_has_its_own_limit_and_keeps_its_level() -> None:
    log = ClientLog(lambda: 0.0)
    with capture_logs() as lines:
        log.emit(record("FAIL [producer-1] Connection refused"))
        log.emit(record("REQTMOUT [producer-1] Timed out", logging.WARNING))
    assert [(each["kind"], each["log_level"]) for each in lines] == [("FAIL", "error"), ("REQTMOUT", "warning")]
