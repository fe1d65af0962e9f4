"""Log lines: few of Kafka's client, as events of ours; and a value is never more than a value."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from millstream.redaction import Redaction
from millstream.telemetry import LONGEST_VALUE, ClientLog, configure_logging
from tests.support.hostile import COLOURS, HOSTILE, controls_in
from tests.support.waiting import until


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


SECRET_PROPERTIES = [
    {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "hunter2"},
    {"security.protocol": "SSL", "ssl.key.pem": "hunter2"},
    {"security.protocol": "SSL", "ssl.key.password": "hunter2", "ssl.keystore.password": "hunter2"},
    {"sasl.pasword": "hunter2"},
    {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "principal=x tokn=hunter2",
    },
    {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "me",
        "sasl.oauthbearer.client.secret": "hunter2",
        "sasl.oauthbearer.token.endpoint.url": "http://me:hunter2@127.0.0.1:1/token",
    },
]


@pytest.mark.parametrize(
    "properties", SECRET_PROPERTIES, ids=["password", "pem", "key", "misspelt", "token config", "token endpoint"]
)
def test_nothing_that_the_kafka_client_says_of_its_settings_is_a_secret(
    properties: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """With all its debug lines, as `ClientLog` gets them, and the errors that commands print."""
    said: list[str] = []
    logger = logging.getLogger("test_kafka_client")
    settings: dict[str, Any] = {
        "bootstrap.servers": "127.0.0.1:1",
        "logger": logger,
        "debug": "all",
        "log_level": 7,
        "error_cb": lambda error: said.append(error.str()),
    }
    with caplog.at_level(logging.DEBUG, logger.name):
        try:
            client = AdminClient({**settings, **properties})
        except KafkaException as error:
            said.append(error.args[0].str())
        else:
            until(lambda: client.poll(0.1) >= 0 and bool(said))
    assert said
    redact = Redaction()
    assert not [each for each in (*said, *caplog.messages) if "hunter2" in redact(each)]


@contextmanager
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., list[str]]]:
    """Logs every hostile text in every way, in a format, and returns the lines of the log."""

    def log(log_format: str, redaction: Redaction | None = None) -> list[str]:
        configure_logging(log_format, redaction=redaction, service="worker")
        logger = structlog.get_logger("test")
        for text in HOSTILE:
            logger.warning(text, tenant=text, several=[text], mapped={text: text}, error=ValueError(text))
            logging.getLogger("foreign").warning("foreign %s", text)
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception("failed")
        return capsys.readouterr().err.split("\n")[:-1]

    with restored_logging():
        yield log


def test_no_value_forges_a_line_of_the_console_log_or_reaches_the_terminal(
    lines: Callable[..., list[str]],
) -> None:
    begins = re.compile(r"\d\d:\d\d:\d\d \[(warning|error) *\]")
    plain = [COLOURS.sub("", line) for line in lines("console")]
    assert not any(controls_in(line, but="\t") for line in plain)
    assert sum(bool(begins.match(line)) for line in plain) == 3 * len(HOSTILE)
    others = [line for line in plain if not begins.match(line)]
    assert all(line.startswith(("    ", "Traceback (most recent call last):")) for line in others)


def test_a_line_of_the_json_log_is_one_object_whatever_its_values_are(lines: Callable[..., list[str]]) -> None:
    found = lines("json")
    assert len(found) == 3 * len(HOSTILE)
    assert not any(controls_in(line, but="\x7f") for line in found)
    assert [json.loads(line)["event"] for line in found[::3]] == list(HOSTILE)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_is_redacted_is_in_no_field_of_a_line(lines: Callable[..., list[str]], log_format: str) -> None:
    assert any("alert(1)" in line for line in lines(log_format))
    assert not any("alert(1)" in line for line in lines(log_format, Redaction(patterns=[r"alert\(1\)"])))


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_line_is_short_however_long_its_values_are(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    with restored_logging():
        configure_logging(log_format)
        text = "begin" + "x" * 1_000_000 + "end"
        structlog.get_logger("test").warning("rejected", reason=text, several=[text], error=ValueError(text))
        logging.getLogger("foreign").warning("foreign %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            structlog.get_logger("test").exception("failed")
    written = capsys.readouterr().err
    assert len(written) < 6 * 1.1 * LONGEST_VALUE
    assert written.count("begin") == written.count("end") == 5
