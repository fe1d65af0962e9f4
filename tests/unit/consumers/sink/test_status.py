"""What ClickHouse says of a record may repeat what is in it: it is redacted and cut before anybody reads it."""

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from structlog.testing import capture_logs

from millstream.consumers.sink.rejected import reason_of
from millstream.consumers.sink.status import REASON_LIMIT, SinkStatus
from millstream.redaction import Redaction


def test_a_reason_is_redacted_and_cut_for_the_log_and_for_the_endpoints() -> None:
    status = SinkStatus(Redaction(patterns=["sk_[a-z]+"]))
    with capture_logs() as lines:
        status.failed("insert_failed", "cannot parse sk_live at http://me:hunter2@host " + "x" * 10_000, partition=3)
    (line,) = lines
    assert line["reason"].startswith("cannot parse [redacted] at http://[redacted]@host xxx")
    assert len(line["reason"]) == REASON_LIMIT
    assert status.last_error == f"insert_failed: {line['reason']}"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Cannot parse uuid a hunter2: (at row 1): While executing AvroRowInputFormat",
            "Cannot parse uuid (its value): (at row 1): While executing AvroRowInputFormat",
        ),
        ("Cannot parse uuid hunter2\n\0 (for url http://h)", "Cannot parse uuid (its value) (for url http://h)"),
        ("Cannot parse uuid hunter2", "Cannot parse uuid (its value)"),
        ("Memory limit exceeded", "Memory limit exceeded"),
    ],
    ids=["at a row", "at an address", "at the end", "another"],
)
def test_the_value_that_clickhouse_repeats_is_left_out(said: str, shown: str) -> None:
    assert reason_of(DatabaseError(said)) == shown
