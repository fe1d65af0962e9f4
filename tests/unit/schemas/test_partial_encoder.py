"""Fast encoding of a few fields: the same bytes as fastavro's."""

import io
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.schemas.partial_encoder import PartialEncoder

TIME = {"type": "long", "logicalType": "timestamp-micros"}
KINDS = {"type": "enum", "name": "Kind", "symbols": ["red", "green", "blue"]}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Sample",
    "fields": [
        {"name": "text", "type": "string", "default": "usual"},
        {"name": "number", "type": "long"},
        {"name": "small", "type": "int", "default": -1},
        {"name": "real", "type": ["null", "double"], "default": None},
        {"name": "truth", "type": "boolean", "default": False},
        {"name": "kind", "type": KINDS},
        {"name": "at", "type": ["null", TIME], "default": None},
        {"name": "data", "type": "bytes", "default": ""},
        {"name": "labels", "type": {"type": "map", "values": "string"}, "default": {}},
    ],
}
times = st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
records = st.fixed_dictionaries(
    {"number": st.integers(-(2**63), 2**63 - 1), "kind": st.sampled_from(KINDS["symbols"])},
    optional={
        "text": st.text(),
        "small": st.integers(-(2**31), 2**31 - 1),
        "real": st.none() | st.floats(allow_nan=False),
        "truth": st.booleans(),
        "at": st.none() | times,
        "data": st.binary(max_size=100),
        "labels": st.dictionaries(st.text(), st.text(), max_size=3),
    },
)


@given(record=records, usual=st.fixed_dictionaries({}, optional={"text": st.text(), "labels": st.just({"a": "b"})}))
def test_it_writes_what_fastavro_writes(record: dict[str, Any], usual: dict[str, Any]) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {"data": b"", **usual, **record})
    assert PartialEncoder(SCHEMA, {"data": b"", **usual}).encode(record) == out.getvalue()


def test_a_field_that_the_schema_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        PartialEncoder(SCHEMA, {"data": b""}).encode({"colour": 1})
