"""What the pydantic models of the Avro records have in common.

Only these models are passed around in the code. Every timestamp is an aware UTC `datetime` (microseconds on the wire),
every id a string in canonical UUID form. The `doc` of each Avro field gives its meaning; a test checks that models and
schemas have the same fields.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Names of tenants, job types and lanes: a letter or digit, then up to 127 letters, digits, `.`, `-`, `_`."""


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the time has no time zone; use an aware datetime such as datetime.now(UTC)")
    return moment.astimezone(UTC)


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
JobId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Timestamp = Annotated[datetime, AfterValidator(_utc)]


class Record(BaseModel):
    """The base of all records: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
