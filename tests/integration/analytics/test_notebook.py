"""The notebook's cells run, on the last hour of a synthetic history."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.warehouse.synthetic import history
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "examples" / "asking.ipynb"


def test_every_cell_of_the_notebook_runs_and_answers(
    clickhouse: Client, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history.fill(clickhouse, 2_000, datetime.now(UTC) - timedelta(minutes=40), 1800)
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", clickhouse_url)
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__DATABASE", clickhouse.database or "")
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    said = capsys.readouterr().out
    assert "tenant-0" in said
    assert "2 slots" in said
    assert "50 slots  p95 wait 0." in said
